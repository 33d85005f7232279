/** Content stored as the store would: plain, in extents, in bundles; and the packs it lies in. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Bundle,
  contentBlocks,
  extentBytesMax,
  extentLength,
} from "../../src/erofs/compression.ts";
import { encodeExtent, type ExtentCodec } from "../../src/erofs/extent-codec.ts";
import type { Device, PlanOptions } from "../../src/erofs/write.ts";

const blockBytes = 4096;
/** Blocks at the start of the pack that hold nothing, room for an image. */
export const leadBlocks = 1024;

interface StoredChunk {
  readonly block: number;
  readonly extentBlocks?: Uint8Array;
  readonly bundleOffset?: number;
}

/** Chunks for one image. Each has a number, counted from 0 in the order of the calls. */
export class PackedContent {
  readonly #codec: ExtentCodec;
  readonly #start: number;
  readonly #chunks: StoredChunk[] = [];
  readonly #bundles = new Map<number, Bundle>();
  readonly #blocks: Buffer[] = [Buffer.alloc(leadBlocks * blockBytes)];
  #next: number;

  constructor(codec: ExtentCodec, start: number) {
    this.#codec = codec;
    this.#start = start;
    this.#next = start + leadBlocks;
  }

  addPlain(content: Uint8Array): number {
    return this.#chunks.push({ block: this.#append(content) }) - 1;
  }

  async addExtents(content: Uint8Array): Promise<number> {
    const block = this.#next;
    const extentBlocks = new Uint8Array(Math.ceil(content.length / extentBytesMax));
    for (let at = 0; at < extentBlocks.length; at++) {
      const start = at * extentBytesMax;
      const piece = content.subarray(start, start + extentLength(content.length, at));
      const stored = (await encodeExtent(this.#codec, piece)) ?? piece;
      extentBlocks[at] = contentBlocks(stored.length);
      this.#append(stored);
    }
    return this.#chunks.push({ block, extentBlocks }) - 1;
  }

  /** One bundle of all of them; returns the number of the first, the others follow. */
  async addBundle(members: readonly Uint8Array[]): Promise<number> {
    const content = Buffer.concat(members);
    const sizeBytes = contentBlocks(content.length) * blockBytes;
    const padded = Buffer.concat([content, Buffer.alloc(sizeBytes - content.length)]);
    const stored = (await encodeExtent(this.#codec, padded)) ?? padded;
    const block = this.#append(stored);
    this.#bundles.set(block, { block, storedBlocks: contentBlocks(stored.length), sizeBytes });
    const first = this.#chunks.length;
    let bundleOffset = 0;
    for (const member of members) {
      this.#chunks.push({ block, bundleOffset });
      bundleOffset += member.length;
    }
    return first;
  }

  /** The pack is the only device. */
  options(): PlanOptions & { readonly devices: readonly Device[] } {
    const blocks = this.#next - this.#start;
    return {
      devices: [{ tag: "pack", blocks, uniaddr: this.#start }],
      blockOf: (chunk) => this.#chunks[chunk]!.block,
      packing: {
        algorithm: this.#codec.algorithm,
        extentBlocksOf: (chunk) => this.#chunks[chunk]!.extentBlocks,
        bundleOffsetOf: (chunk) => this.#chunks[chunk]!.bundleOffset,
        bundleAt: (block) => this.#bundles.get(block)!,
      },
    };
  }

  /** Writes the pack; returns its path. */
  write(folder: string): string {
    const path = join(folder, "pack");
    writeFileSync(path, this.bytes());
    return path;
  }

  /** The whole pack. */
  bytes(): Buffer {
    return Buffer.concat(this.#blocks);
  }

  #append(content: Uint8Array): number {
    const blocks = contentBlocks(content.length);
    const padded = Buffer.alloc(blocks * blockBytes);
    padded.set(content);
    this.#blocks.push(padded);
    const block = this.#next;
    this.#next += blocks;
    return block;
  }
}

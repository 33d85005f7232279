/**
 * Finds the chunks that the extents of a file consist of, and checks that each is whole: the image
 * says where and how it is stored, the index says the same.
 *
 * @module
 */
import { contentBlocks, extentBytesMax, extentLength } from "../erofs/compression.ts";
import type { Extent } from "../erofs/read.ts";
import type { BundleRow, ChunkRow } from "./index-database.ts";
import {
  blockBytes,
  blockOfPlace,
  blocksFor,
  placeOf,
  type BlockAddress,
  type ChunkPlace,
} from "./layout.ts";

/** What the index knows of content. */
export interface ContentIndex {
  chunkAt(place: ChunkPlace): ChunkRow | undefined;
  /** The bundle that one of its blocks belongs to. */
  bundleHolding(block: BlockAddress): BundleRow | undefined;
}

export interface FoundChunk {
  readonly fileOffsetBytes: number;
  readonly chunk: ChunkRow;
}

export type StoredExtent = Extent & { readonly kind: "blocks" | "compressed" };

/** Where a chunk that is being read goes on. */
interface Reading {
  readonly chunk: ChunkRow;
  /** Content read so far. */
  doneBytes: number;
  /** First block of the extent that `doneBytes` lies in. */
  extentBlock: BlockAddress;
}

/** To be given all extents of one file in order. */
export class ChunkCursor {
  readonly #index: ContentIndex;
  #reading: Reading | undefined;

  constructor(index: ContentIndex) {
    this.#index = index;
  }

  /** Within a chunk: the next extent must go on with it. */
  get isInside(): boolean {
    return this.#reading !== undefined;
  }

  /** The chunks that begin in the extent; undefined at the end where something disagrees. */
  *take(extent: StoredExtent): Generator<FoundChunk | undefined, void> {
    for (let done = 0; done < extent.lengthBytes;) {
      const isRaw = extent.kind === "blocks";
      const block = isRaw ? extent.block + done / blockBytes : extent.block;
      if (this.#reading === undefined) {
        const chunk = this.#index.chunkAt(placeOf(block));
        if (chunk === undefined || chunk.blocks === 0) {
          yield undefined;
          return;
        }
        this.#reading = { chunk, doneBytes: 0, extentBlock: block };
        yield { fileOffsetBytes: extent.fileOffsetBytes + done, chunk };
      }
      const stored = expected(this.#reading);
      const isSame = isRaw
        ? stored.isRaw && stored.block === block
        : !stored.isRaw && stored.block === block && stored.storedBlocks === extent.storedBlocks;
      const isWhole = isRaw || stored.lengthBytes === extent.lengthBytes;
      const step = Math.min(stored.lengthBytes, extent.lengthBytes - done);
      if (!isSame || !isWhole) {
        yield undefined;
        return;
      }
      done += step;
      this.#reading = advance(this.#reading, step);
    }
  }
}

/** What must come next of a chunk. */
function expected({ chunk, doneBytes, extentBlock }: Reading) {
  const leftBytes = chunk.size_bytes - doneBytes;
  if (chunk.extents === null) {
    const block = blockOfPlace(chunk.place) + doneBytes / blockBytes;
    return { isRaw: true, block, storedBlocks: blocksFor(leftBytes), lengthBytes: leftBytes };
  }
  const number = Math.floor(doneBytes / extentBytesMax);
  const withinBytes = doneBytes % extentBytesMax;
  const wholeBytes = extentLength(chunk.size_bytes, number);
  const storedBlocks = chunk.extents[number] ?? 0;
  return {
    isRaw: storedBlocks === contentBlocks(wholeBytes),
    block: extentBlock + withinBytes / blockBytes,
    storedBlocks,
    lengthBytes: wholeBytes - withinBytes,
  };
}

function advance(reading: Reading, step: number): Reading | undefined {
  const { chunk, extentBlock } = reading;
  const doneBytes = reading.doneBytes + step;
  if (doneBytes >= chunk.size_bytes) return undefined;
  const isNext = doneBytes % extentBytesMax === 0;
  const stored = chunk.extents?.[doneBytes / extentBytesMax - 1] ?? 0;
  return { chunk, doneBytes, extentBlock: isNext ? extentBlock + stored : extentBlock };
}

/**
 * A layer whose content lies in a lazy pack: its image, its pack with holes for content, and what
 * belongs in the holes.
 */
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { blockSizeBytes } from "../../../src/erofs/format.ts";
import { fileType, noXattrs, type RegularFile } from "../../../src/erofs/tree.ts";
import { emitImage, planImage } from "../../../src/erofs/write.ts";
import type { ImageFiles } from "../../../src/mount/contract.ts";
import type { LazyPack } from "../../../src/ondemand/contract.ts";
import {
  encodePieceMap,
  type Piece,
  PieceMap,
  pieceMapPath,
} from "../../../src/ondemand/piece-map.ts";
import { Presence } from "../../../src/ondemand/presence.ts";
import { alignUp, KiB, MiB } from "../../../src/util/bytes.ts";
import { type ByteString, byteStringOfText } from "../../../src/util/byte-string.ts";
import { type Inode, toFileTree } from "../tree-objects.ts";

/** The smallest class of lazy packs. */
const packBlocks = 2 ** 15;
const packBytes = packBlocks * blockSizeBytes;
/** Where lazy packs begin in the address space. */
const uniaddr = 2 ** 31;
const chunkSizeBytes = MiB;
/** No multiple of a block, so that reads and pieces overlap in all ways. */
const pieceBytesMax = 100 * KiB + 123;

export interface LazyLayer {
  readonly pack: LazyPack;
  /** The path of the image; its pack is where a backend exposes it. */
  readonly image: string;
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** What belongs in the pack, up to the end of the last file. */
  readonly content: Uint8Array;
  contentOf(piece: number): Uint8Array;
  close(): void;
}

/** Content by name; each file begins at a block, and its pieces follow one another. */
interface Placed {
  readonly name: string;
  readonly content: Uint8Array;
  readonly sizeBytes: number;
  readonly offsetBytes: number;
}

/** Makes `<folder>/<packId>.{pack,pieces,erofs}`. @param files in the order of the pack */
export function makeLazyLayer(
  folder: string,
  packId: number,
  files: ReadonlyMap<string, Uint8Array>,
): LazyLayer {
  mkdirSync(folder, { recursive: true });
  const placed = place(files);
  const path = join(folder, `${packId}.pack`);
  writeFileSync(path, "");
  truncateSync(path, packBytes);
  writeFileSync(pieceMapPath(path), mapOf(placed));
  writeFileSync(join(folder, `${packId}.erofs`), lazyImage(packId, placed));
  return openLazyLayer(folder, packId, files);
}

/** The same, of files that are there. */
export function openLazyLayer(
  folder: string,
  packId: number,
  files: ReadonlyMap<string, Uint8Array>,
): LazyLayer {
  const placed = place(files);
  const path = join(folder, `${packId}.pack`);
  const file = openSync(path, "r+");
  const pieces = new PieceMap(mapOf(placed), path);
  const pack = { packId, path, file, pieces, presence: Presence.open(path, pieces.length) };
  const content = Buffer.concat(placed.map(({ content: bytes }) => padded(bytes)));
  const contentOf = (piece: number) => {
    const start = pieces.packOffsetOf(piece);
    return content.subarray(start, start + pieces.sizeOf(piece));
  };
  const image = join(folder, `${packId}.erofs`);
  return { pack, image, files, content, contentOf, close: () => closeSync(file) };
}

function padded(bytes: Uint8Array): Uint8Array {
  const blocks = Buffer.alloc(alignUp(bytes.length, blockSizeBytes));
  blocks.set(bytes);
  return blocks;
}

/** The layer as it is mounted, with its pack at the path it was exposed at. */
export function imageFiles({ image }: LazyLayer, exposedPath: string): ImageFiles {
  return { image, packs: [exposedPath] };
}

function place(files: ReadonlyMap<string, Uint8Array>): Placed[] {
  let offsetBytes = 0;
  return [...files].map(([name, content]) => {
    const placed = { name, content, sizeBytes: content.length, offsetBytes };
    offsetBytes = alignUp(offsetBytes + content.length, blockSizeBytes);
    return placed;
  });
}

function mapOf(placed: readonly Placed[]): Uint8Array {
  const pieces: Piece[] = [];
  for (const { content, offsetBytes } of placed) {
    for (let start = 0; start < content.length; start += pieceBytesMax) {
      const part = content.subarray(start, start + pieceBytesMax);
      pieces.push({
        packOffsetBytes: offsetBytes + start,
        sizeBytes: part.length,
        sha256: createHash("sha256").update(part).digest(),
        blobOffsetBytes: offsetBytes + start,
        compressedBytes: part.length,
        innerOffsetBytes: 0,
      });
    }
  }
  const digest = `sha256:${createHash("sha256").update(placed[0]!.content).digest("hex")}`;
  const origin = {
    format: "estargz",
    image: "test",
    digest,
    blobBytes: packBytes,
    prefetchEndBytes: 0,
  } as const;
  return encodePieceMap(origin, pieces, packBytes);
}

const attributes = { uid: 0, gid: 0, mtimeSeconds: 1, mtimeNanoseconds: 0, xattrs: noXattrs };

/** The image of a layer with these files, whose content lies in the pack. */
export function lazyImage(
  packId: number,
  placed: readonly Pick<Placed, "name" | "sizeBytes" | "offsetBytes">[],
): Uint8Array {
  const addresses: number[] = [];
  const entries = new Map<ByteString, Inode>();
  for (const { name, sizeBytes, offsetBytes } of placed) {
    const chunks: number[] = [];
    for (let start = 0; start < sizeBytes; start += chunkSizeBytes) {
      chunks.push(addresses.length);
      addresses.push(uniaddr + (offsetBytes + start) / blockSizeBytes);
    }
    const file: RegularFile = {
      ...attributes,
      type: "file",
      mode: fileType.regular | 0o755,
      sizeBytes,
      content: { kind: "chunks", chunkSizeBytes, chunks },
    };
    entries.set(byteStringOfText(name), file);
  }
  const mode = fileType.directory | 0o755;
  const plan = planImage(toFileTree({ ...attributes, type: "directory", mode, entries }), {
    devices: [{ tag: `${packId}.pack`, blocks: packBlocks, uniaddr }],
    blockOf: (chunk) => addresses[chunk]!,
    namesDevices: true,
  });
  const image = Buffer.alloc(plan.blocks * blockSizeBytes);
  emitImage(plan, (offsetBytes, bytes) => image.set(bytes, offsetBytes));
  return image;
}

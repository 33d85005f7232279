/** A layer whose content is not there yet, and a filler that has it in memory. */
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { writeSync } from "node:fs";
import { join } from "node:path";
import { blockSizeBytes } from "../../src/erofs/format.ts";
import { fileType, noXattrs, type RegularFile } from "../../src/erofs/tree.ts";
import { emitImage, planImage } from "../../src/erofs/write.ts";
import type { ImageFiles } from "../../src/mount/contract.ts";
import type { Demand, LazyPack } from "../../src/ondemand/contract.ts";
import {
  encodePieceMap,
  type Piece,
  PieceMap,
  pieceMapPath,
} from "../../src/ondemand/piece-map.ts";
import { Presence } from "../../src/ondemand/presence.ts";
import { alignUp } from "../../src/util/bytes.ts";
import { type ByteString, byteStringOfText } from "../../src/util/byte-string.ts";
import { type Directory, type Inode, toFileTree } from "./tree-objects.ts";

const attributes = { uid: 0, gid: 0, mtimeSeconds: 1, mtimeNanoseconds: 0, xattrs: noXattrs };
const uniaddr = 2 ** 31;

export interface LazyLayer {
  readonly files: ImageFiles;
  readonly packId: number;
  /** Of the whole pack, as it shall become. */
  readonly content: Buffer;
}

/**
 * Writes `<folder>/images/<packId>.erofs`, and an empty pack with its map to `<folder>/packs`.
 *
 * @param sizes of files `0`, `1`, …, each a chunk of the pack of its own
 * @param pieceBytes what can be fetched at a time
 */
export function writeLazyLayer(
  folder: string,
  packId: number,
  sizes: readonly number[],
  pieceBytes: number,
  fill: (bytes: Buffer) => Buffer = (bytes) => crypto.getRandomValues(bytes),
): LazyLayer {
  for (const name of ["images", "packs"]) mkdirSync(join(folder, name), { recursive: true });
  const starts: number[] = [];
  let packBytes = 0;
  for (const sizeBytes of sizes) {
    starts.push(packBytes);
    packBytes += alignUp(sizeBytes, blockSizeBytes);
  }
  const content = Buffer.alloc(packBytes);
  const pieces: Piece[] = [];
  for (const [index, sizeBytes] of sizes.entries()) {
    const start = starts[index]!;
    for (let at = 0; at < sizeBytes; at += pieceBytes) {
      const length = Math.min(pieceBytes, sizeBytes - at);
      const bytes = content.subarray(start + at, start + at + length);
      for (let done = 0; done < length; done += 65_536) fill(bytes.subarray(done, done + 65_536));
      pieces.push(pieceOf(start + at, bytes));
    }
  }
  const path = join(folder, "packs", `${packId}.pack`);
  writeFileSync(path, "");
  truncateSync(path, alignUp(packBytes, 2 ** 27));
  const origin = { image: "test", digest: "sha256:0", blobBytes: packBytes, prefetchEndBytes: 0 };
  const map = encodePieceMap({ format: "estargz", ...origin }, pieces, packBytes);
  writeFileSync(pieceMapPath(path), map);
  const image = join(folder, "images", `${packId}.erofs`);
  writeImage(image, packId, sizes, starts);
  return { files: { image, packs: [path] }, packId, content };
}

function pieceOf(packOffsetBytes: number, bytes: Uint8Array): Piece {
  return {
    packOffsetBytes,
    sizeBytes: bytes.length,
    sha256: createHash("sha256").update(bytes).digest(),
    blobOffsetBytes: packOffsetBytes,
    compressedBytes: bytes.length,
    innerOffsetBytes: 0,
  };
}

function writeImage(
  path: string,
  packId: number,
  sizes: readonly number[],
  starts: readonly number[],
): void {
  const entries = new Map<ByteString, Inode>();
  for (const [index, sizeBytes] of sizes.entries())
    entries.set(byteStringOfText(`${index}`), fileOf(index, sizeBytes));
  const mode = fileType.directory | 0o755;
  const root: Directory = { ...attributes, type: "directory", mode, entries };
  const blocks = 2 ** 15 * Math.ceil(((starts.at(-1) ?? 0) + (sizes.at(-1) ?? 0)) / 2 ** 27);
  const plan = planImage(toFileTree(root), {
    devices: [{ tag: `${packId}.pack`, blocks, uniaddr }],
    blockOf: (chunk) => uniaddr + starts[chunk]! / blockSizeBytes,
  });
  const bytes = Buffer.alloc(plan.blocks * blockSizeBytes);
  emitImage(plan, (offsetBytes, piece) => bytes.set(piece, offsetBytes));
  writeFileSync(path, bytes);
}

function fileOf(chunk: number, sizeBytes: number): RegularFile {
  return {
    ...attributes,
    type: "file",
    mode: fileType.regular | 0o755,
    sizeBytes,
    content: { kind: "chunks", chunkSizeBytes: 2 ** 30, chunks: chunk },
  };
}

/** As dedupd opens it; to be closed by `closePack`. */
export function openPack({ files, packId }: LazyLayer): LazyPack {
  const [path = ""] = files.packs;
  const pieces = new PieceMap(readFileSync(pieceMapPath(path)), path);
  const presence = Presence.open(path, pieces.length);
  return { packId, path, file: openSync(path, "r+"), pieces, presence };
}

export function closePack({ file }: LazyPack): void {
  closeSync(file);
}

/** Fills what is asked for, of packs that are added. */
export class MemoryFiller {
  readonly #packs = new Map<number, { pack: LazyPack; content: Buffer }>();
  readonly requests: { packId: number; offsetBytes: number; lengthBytes: number }[] = [];
  /** Awaited before anything is filled. */
  before: () => Promise<void> = () => Promise.resolve();

  add(pack: LazyPack, { content }: LazyLayer): void {
    this.#packs.set(pack.packId, { pack, content });
  }

  readonly demand: Demand = async (request) => {
    this.requests.push(request);
    await this.before();
    this.fill(request.packId, request.offsetBytes, request.lengthBytes);
  };

  fill(packId: number, offsetBytes: number, lengthBytes: number): void {
    const { pack, content } = this.#packs.get(packId)!;
    const [first, end] = pack.pieces.covering(offsetBytes, lengthBytes);
    for (let index = first; index < end; index++) {
      if (pack.presence.has(index)) continue;
      const piece = pack.pieces.at(index);
      writeSync(pack.file, content, piece.packOffsetBytes, piece.sizeBytes, piece.packOffsetBytes);
      pack.presence.set(index);
    }
  }
}

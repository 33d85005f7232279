/**
 * Which chunks the files of a layer consist of: the image says where, the index says what.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { closeSync, openSync, readSync } from "node:fs";
import { AppError } from "../errors.ts";
import {
  extentsOf,
  isOfType,
  openImage,
  walkImage,
  type ErofsImage,
  type Extent,
  type ImageInode,
  type ReadImage,
} from "../erofs/read.ts";
import { displayName, type ByteString } from "../util/byte-string.ts";
import type { ChunkRow } from "./index-database.ts";
import { blocksFor, firstBlockOfPack, packIdMin, type BlockAddress } from "./layout.ts";

/** A piece of a file. */
export type FilePiece =
  | { readonly kind: "chunk"; readonly fileOffsetBytes: number; readonly chunk: ChunkRow }
  | { readonly kind: "inline" | "hole"; readonly fileOffsetBytes: number; readonly bytes: number };

export interface LayerFile {
  readonly path: ByteString;
  readonly sizeBytes: number;
  /** The other name of the same file that came first. */
  readonly linkOf: ByteString | undefined;
  readonly pieces: () => Iterable<FilePiece>;
}

/** Opens an image file for reading; to be disposed of. */
export function openImageFile(path: string): { image: ErofsImage } & Disposable {
  const file = openSync(path, "r");
  const read: ReadImage = (offsetBytes, lengthBytes) => {
    const buffer = Buffer.alloc(lengthBytes);
    const count = readSync(file, buffer, 0, lengthBytes, offsetBytes);
    return buffer.subarray(0, count);
  };
  try {
    return { image: openImage(read), [Symbol.dispose]: () => closeSync(file) };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** Finds the chunk that starts at a block. */
export type FindChunk = (block: BlockAddress) => ChunkRow | undefined;

export function chunkFinder(database: Database): FindChunk {
  const query = database.query<ChunkRow, [number]>("SELECT * FROM chunks WHERE block = ?");
  return (block) => query.get(block) ?? undefined;
}

/** The regular files of a layer, with what they consist of. */
export function* filesOf(image: ErofsImage, findChunk: FindChunk): Generator<LayerFile, void> {
  for (const { path, inode, linkOf } of walkImage(image)) {
    if (!isOfType(inode, "regular")) continue;
    const { sizeBytes } = inode;
    yield { path, sizeBytes, linkOf, pieces: () => piecesOf(image, inode, path, findChunk) };
  }
}

function* piecesOf(
  image: ErofsImage,
  inode: ImageInode,
  path: ByteString,
  findChunk: FindChunk,
): Generator<FilePiece, void> {
  for (const extent of extentsOf(image, inode)) {
    const { kind, fileOffsetBytes, lengthBytes } = extent;
    if (kind === "blocks" && extent.block >= firstBlockOfPack(packIdMin)) {
      yield* chunksOf(extent, path, findChunk);
    } else {
      yield { kind: kind === "hole" ? "hole" : "inline", fileOffsetBytes, bytes: lengthBytes };
    }
  }
}

/** An extent is one chunk, or several whose blocks follow each other. */
function* chunksOf(
  extent: Extent & { kind: "blocks" },
  path: ByteString,
  findChunk: FindChunk,
): Generator<FilePiece, void> {
  let { block, fileOffsetBytes } = extent;
  const end = extent.fileOffsetBytes + extent.lengthBytes;
  while (fileOffsetBytes < end) {
    const chunk = findChunk(block);
    if (chunk === undefined || fileOffsetBytes + chunk.size_bytes > end) {
      const problem = `has content at block ${block}, where the index knows no chunk`;
      throw new AppError("data_loss", `"${displayName(path)}" ${problem}`);
    }
    yield { kind: "chunk", fileOffsetBytes, chunk };
    fileOffsetBytes += chunk.size_bytes;
    block += blocksFor(chunk.size_bytes);
  }
}

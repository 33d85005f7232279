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
  PackedContent,
  walkImage,
  type ErofsImage,
  type Extent,
  type ImageInode,
  type ReadImage,
} from "../erofs/read.ts";
import { displayName, type ByteString } from "../util/byte-string.ts";
import { ChunkCursor, type ContentIndex } from "./chunk-cursor.ts";
import type { BundleRow, ChunkRow } from "./index-database.ts";
import {
  blockBytes,
  firstBlockOfPack,
  isLazyPack,
  packIdMin,
  packOfBlock,
  placeOf,
  type BlockAddress,
} from "./layout.ts";

/** A piece of a file. */
export type FilePiece =
  | { readonly kind: "chunk"; readonly fileOffsetBytes: number; readonly chunk: ChunkRow }
  | { readonly kind: "inline" | "hole"; readonly fileOffsetBytes: number; readonly bytes: number }
  | LazyPiece;

/** In a lazy pack, there or not; part of it may be zeros. */
export interface LazyPiece {
  readonly kind: "lazy";
  readonly fileOffsetBytes: number;
  readonly bytes: number;
  readonly block: BlockAddress;
}

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

/** Asks the index. */
export function contentIndex(database: Database): ContentIndex {
  const chunks = database.query<ChunkRow, [number]>("SELECT * FROM chunks WHERE place = ?");
  const bundles = database.query<BundleRow, [number]>(
    "SELECT * FROM bundles WHERE block <= ? ORDER BY block DESC LIMIT 1",
  );
  return {
    chunkAt: (place) => chunks.get(place) ?? undefined,
    bundleHolding(block) {
      const row = bundles.get(block);
      return row !== null && block < row.block + row.blocks ? row : undefined;
    },
  };
}

/** The regular files of a layer, with what they consist of. */
export function* filesOf(image: ErofsImage, index: ContentIndex): Generator<LayerFile, void> {
  const reader = new PieceReader(image, index);
  for (const { path, inode, linkOf } of walkImage(image)) {
    if (!isOfType(inode, "regular")) continue;
    const { sizeBytes } = inode;
    yield { path, sizeBytes, linkOf, pieces: () => reader.piecesOf(inode, path) };
  }
}

/** What the regular files of an image consist of. */
export class PieceReader {
  readonly #image: ErofsImage;
  readonly #index: ContentIndex;
  readonly #packed: PackedContent;

  constructor(image: ErofsImage, index: ContentIndex) {
    this.#image = image;
    this.#index = index;
    this.#packed = new PackedContent(image);
  }

  /** In order, without gaps. Throws `data_loss` where image and index disagree. */
  *piecesOf(inode: ImageInode, path: ByteString): Generator<FilePiece, void> {
    const cursor = new ChunkCursor(this.#index);
    for (const extent of extentsOf(this.#image, inode)) {
      const { kind, fileOffsetBytes, lengthBytes } = extent;
      const isStored = kind === "blocks" || kind === "compressed";
      const isLazy = kind === "blocks" && isLazyPack(packOfBlock(extent.block));
      if (isLazy && !cursor.isInside) {
        yield { kind: "lazy", fileOffsetBytes, bytes: lengthBytes, block: extent.block };
        continue;
      }
      if (isStored && extent.block >= firstBlockOfPack(packIdMin)) {
        for (const found of cursor.take(extent)) {
          if (found === undefined) throw unknownContent(path, extent.block);
          yield { kind: "chunk", ...found };
        }
        continue;
      }
      if (cursor.isInside) throw unknownContent(path, 0);
      if (kind === "fragment") yield this.#fragmentOf(extent, path);
      else yield { kind: kind === "hole" ? "hole" : "inline", fileOffsetBytes, bytes: lengthBytes };
    }
    if (cursor.isInside) throw unknownContent(path, 0);
  }

  /** A member of a bundle, which is an extent of the packed inode or part of a run of raw ones. */
  #fragmentOf(extent: Extent & { kind: "fragment" }, path: ByteString): FilePiece {
    const { fileOffsetBytes, lengthBytes, packedOffsetBytes } = extent;
    const packed = this.#packed.extentAt(packedOffsetBytes);
    const withinBytes = packedOffsetBytes - packed.fileOffsetBytes;
    const isRaw = packed.kind === "blocks";
    const block = packed.block + (isRaw ? Math.floor(withinBytes / blockBytes) : 0);
    const bundle = this.#index.bundleHolding(block);
    const isSame = isRaw
      ? bundle?.encoding === 0
      : bundle?.encoding === this.#image.superblock.algorithm &&
        bundle?.block === block &&
        bundle.blocks === packed.storedBlocks &&
        bundle.size_bytes === packed.lengthBytes;
    if (bundle === undefined || !isSame) throw unknownContent(path, block);
    const offsetBytes = isRaw
      ? (block - bundle.block) * blockBytes + (withinBytes % blockBytes)
      : withinBytes;
    const chunk = this.#index.chunkAt(placeOf(bundle.block, offsetBytes));
    if (chunk?.size_bytes !== lengthBytes || chunk.blocks !== 0) throw unknownContent(path, block);
    return { kind: "chunk", fileOffsetBytes, chunk };
  }
}

function unknownContent(path: ByteString, block: BlockAddress): AppError {
  const where = block === 0 ? "within a chunk" : `at block ${block}`;
  const problem = `"${displayName(path)}" has content ${where} that the index knows differently`;
  return new AppError("data_loss", problem);
}

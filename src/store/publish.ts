/**
 * Makes a built layer visible: image file first, then one transaction in the index.
 *
 * Order of durability: content synced to the packs → image written, synced, renamed → transaction.
 * A crash in between leaves bytes nobody refers to, which the next start collects; never a
 * reference to bytes that are not there.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { closeSync, fstatSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { realtimeNs } from "../../ffi/time.ts";
import { AppError } from "../errors.ts";
import { emitImage, planImage } from "../erofs/write.ts";
import type { Directory } from "../erofs/tree.ts";
import { sha256OfFile } from "../util/file-hash.ts";
import { insertRows } from "../util/sqlite.ts";
import type { ChunkTable } from "./chunk-table.ts";
import { findChunks, findLayerByImage } from "./index-database.ts";
import { enterLayerBlob, type BlobRow } from "./layer-blobs.ts";
import { blocksFor, firstBlockOfPack, packBlocks, packOfBlock, blockBytes } from "./layout.ts";
import { storageError } from "./pack-writer.ts";
import { imagePath, type StorePaths } from "./paths.ts";

/** A layer whose content is in the packs and synced. */
export interface BuiltLayer {
  readonly root: Directory;
  readonly table: ChunkTable;
  /** Bytes of file content, hard links once, holes left out. */
  readonly contentBytes: number;
  /** Chunks that the index had and the packs had lost; they are there again. */
  readonly restoredChunks: number;
  /** What the layer was made of, if that alone tells its content. */
  readonly blob?: Omit<BlobRow, "layer"> | undefined;
}

export interface PublishedLayer {
  readonly layerId: number;
  /** Bytes on disk that came with the layer. */
  readonly addedBytes: number;
  readonly inodes: number;
  readonly reused: boolean;
  /** Chunks that were written in vain: the same content was published meanwhile. */
  readonly unneededChunks: number;
  readonly restoredChunks: number;
}

interface ImageFile {
  readonly path: string;
  readonly sha256: Uint8Array;
  readonly sizeBytes: number;
  readonly diskBytes: number;
  readonly inodes: number;
  readonly packs: readonly number[];
}

/**
 * Writes the image and enters the layer into the index. The caller holds the lock of the store.
 *
 * @throws AppError `unavailable` where content that was found in the index is gone: build again
 */
export function publishLayer(
  database: Database,
  paths: StorePaths,
  layer: BuiltLayer,
): PublishedLayer {
  const unneededChunks = settleAddresses(database, layer.table);
  const { restoredChunks } = layer;
  const image = writeImage(paths, layer);
  try {
    const existing = findLayerByImage(database, image.sha256);
    const reused = existing !== undefined;
    if (reused && layer.blob) enterLayerBlob(database, { ...layer.blob, layer: existing.id });
    const layerId = existing?.id ?? enterLayer(database, paths, layer, image);
    const addedBytes = reused ? 0 : addedContentBytes(layer.table) + image.diskBytes;
    const { inodes } = image;
    return { layerId, addedBytes, inodes, reused, unneededChunks, restoredChunks };
  } finally {
    rmSync(image.path, { force: true });
  }
}

/** Looks up all chunks again, for another layer may have come first; counts what is unneeded. */
function settleAddresses(database: Database, table: ChunkTable): number {
  let unneeded = 0;
  const missing = new Set<number>();
  for (let ref = 0; ref < table.length; ref++) {
    if (table.originOf(ref) === "known") missing.add(ref);
  }
  const hashes = Array.from({ length: table.length }, (_, ref) => table.sha256Of(ref));
  findChunks(database, hashes, (row) => {
    const ref = table.find(row.sha256);
    if (ref === undefined) return;
    if (table.originOf(ref) === "written") unneeded += 1;
    table.settle(ref, row.block, "known");
    missing.delete(ref);
  });
  if (missing.size > 0) {
    const message = `${missing.size} chunks were deleted while the layer was built`;
    throw new AppError("unavailable", message);
  }
  return unneeded;
}

function writeImage(paths: StorePaths, layer: BuiltLayer): ImageFile {
  const { table } = layer;
  const packs = new Set<number>();
  for (let ref = 0; ref < table.length; ref++) packs.add(packOfBlock(table.blockOf(ref)));
  const packIds = [...packs].sort((left, right) => left - right);
  const devices = packIds.map((packId) => ({
    tag: `${packId}.pack`,
    blocks: packBlocks,
    uniaddr: firstBlockOfPack(packId),
  }));
  const plan = planImage(layer.root, { devices, blockOf: (ref) => table.blockOf(ref) });
  const path = join(paths.images, `new-${crypto.randomUUID()}`);
  const file = openSync(path, "wx", 0o600);
  try {
    const { sizeBytes } = emitImage(plan, (offset, bytes) => {
      writeSync(file, bytes, 0, bytes.length, offset);
    });
    fsyncSync(file);
    return {
      path,
      sha256: sha256OfFile(path),
      sizeBytes,
      diskBytes: fstatSync(file).blocks * 512,
      inodes: plan.index.inodes.length,
      packs: packIds,
    };
  } catch (error) {
    rmSync(path, { force: true });
    throw error instanceof AppError ? error : storageError(`write image "${path}"`, error);
  } finally {
    closeSync(file);
  }
}

/** One transaction: the layer, its new chunks and what it uses. The image is renamed inside it. */
function enterLayer(
  database: Database,
  paths: StorePaths,
  layer: BuiltLayer,
  image: ImageFile,
): number {
  try {
    return database
      .transaction(() => {
        const layerId = insertLayer(database, layer, image);
        insertChunks(database, layerId, layer.table);
        if (layer.blob) enterLayerBlob(database, { ...layer.blob, layer: layerId });
        renameSync(image.path, imagePath(paths, layerId));
        syncDirectory(paths.images);
        return layerId;
      })
      .immediate();
  } catch (error) {
    throw storageError(`enter the layer into "${paths.indexDatabase}"`, error);
  }
}

function insertLayer(database: Database, layer: BuiltLayer, image: ImageFile): number {
  const { table } = layer;
  let uses = 0;
  for (let ref = 0; ref < table.length; ref++) uses += table.usesOf(ref);
  const statement = database.query(
    `INSERT INTO layers (image_sha256, image_bytes, inodes, content_bytes, chunk_uses, packs,
       created_ns) VALUES (?, ?, ?, ?, ?, ?, ?)`,
  );
  const result = statement.run(
    image.sha256,
    image.sizeBytes,
    image.inodes,
    layer.contentBytes,
    uses,
    image.packs.join(","),
    realtimeNs(),
  );
  return Number(result.lastInsertRowid);
}

function insertChunks(database: Database, layerId: number, table: ChunkTable): void {
  const refs = Array.from({ length: table.length }, (_, ref) => ref);
  const written = refs.filter((ref) => table.originOf(ref) === "written");
  insertRows(
    database,
    "INSERT INTO chunks (block, sha256, size_bytes, uses)",
    4,
    written.map((ref) => [
      table.blockOf(ref),
      table.sha256Of(ref) as Uint8Array<ArrayBuffer>,
      table.sizeOf(ref),
      0,
    ]),
  );
  refs.sort((left, right) => table.blockOf(left) - table.blockOf(right));
  insertRows(
    database,
    "INSERT INTO layer_chunks (layer, block, uses)",
    3,
    refs.map((ref) => [layerId, table.blockOf(ref), table.usesOf(ref)]),
  );
  database
    .query(
      `UPDATE chunks SET uses = chunks.uses + used.uses FROM layer_chunks AS used
       WHERE used.layer = ? AND used.block = chunks.block`,
    )
    .run(layerId);
}

function addedContentBytes(table: ChunkTable): number {
  let bytes = 0;
  for (let ref = 0; ref < table.length; ref++) {
    if (table.originOf(ref) === "written") bytes += blocksFor(table.sizeOf(ref)) * blockBytes;
  }
  return bytes;
}

function syncDirectory(path: string): void {
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

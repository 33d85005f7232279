/**
 * Makes a built layer visible: image file first, then one transaction in the index.
 *
 * Order of durability: content synced to the packs → image written, synced, renamed → transaction.
 * A crash in between leaves bytes nobody refers to, which the next start collects; never a
 * reference to bytes that are not there.
 *
 * @module
 */
import type { Database, SQLQueryBindings } from "bun:sqlite";
import { closeSync, fstatSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { realtimeNs } from "../../ffi/time.ts";
import { AppError } from "../errors.ts";
import { emitImage, planImage } from "../erofs/write.ts";
import type { FileTree } from "../erofs/file-tree.ts";
import type { ChunkRef } from "../erofs/tree.ts";
import { sha256OfFile } from "../util/file-hash.ts";
import { insertRows } from "../util/sqlite.ts";
import { syncFolder } from "../util/sync-folder.ts";
import type { ChunkTable } from "./chunk-table.ts";
import {
  type BundleRow,
  findLayerByImage,
  imageIdentity,
  type LayerBuilder,
  type LayerRow,
} from "./index-database.ts";
import { enterLayerBlob, type BlobRow } from "./layer-blobs.ts";
import {
  type BlockAddress,
  blockBytes,
  type ChunkPlace,
  firstBlockOfPack,
  packBlocksOf,
  packOfBlock,
  isLazyPack,
} from "./layout.ts";
import { enterLazyBlob, enterLazyPack, type LazyBlob, type LazyPackRow } from "./lazy-layers.ts";
import { packingOf } from "./packing.ts";
import { markStale, markTried } from "./stale-chunks.ts";
import { storageError } from "./pack-writer.ts";
import { imagePath, type StorePaths } from "./paths.ts";
import { problemOfImage } from "./verify-image.ts";

/** A layer whose content is in the packs and synced. */
export interface BuiltLayer {
  readonly tree: FileTree;
  /** What the tree has the content of small files in; to be disposed of with it. */
  readonly inline: Disposable;
  readonly table: ChunkTable;
  /** Bytes of file content, hard links once, holes left out. */
  readonly contentBytes: number;
  /** Chunks that the index had and the packs had lost; they are there again. */
  readonly restoredChunks: number;
  /** Where compressed content lay that the packs have lost; what came again is stored anew. */
  readonly lostBlocks: ReadonlySet<BlockAddress>;
  /** Raw chunks that were tried again and stay as they are. */
  readonly triedPlaces: ReadonlySet<ChunkPlace>;
  /** What the layer was made of, if that alone tells its content. */
  readonly blob?: Omit<BlobRow, "layer"> | undefined;
  /** Written and synced already, with all content in it; undefined: to be written. */
  readonly image?: ImageFile | undefined;
  /** Of a layer made of a table of contents. */
  readonly lazy?: LazyPart | undefined;
}

export interface LazyPart {
  /** What the layer was made of, if that alone tells its content. */
  readonly blob: LazyBlob | undefined;
  /** Undefined where all content is in local packs. Its files are there, and synced. */
  readonly pack: Omit<LazyPackRow, "layer"> | undefined;
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
  /** Of a lazy layer that has content in a pack of its own. */
  readonly lazyPack: number | undefined;
  /** The layer was there, but its image file was damaged or missing; it is there again. */
  readonly isImageRestored: boolean;
}

/** An image under a temporary name in the folder of images. */
export interface ImageFile {
  readonly path: string;
  readonly sha256: Uint8Array;
  readonly sizeBytes: number;
  readonly diskBytes: number;
  readonly inodes: number;
  readonly packs: readonly number[];
  readonly builder: LayerBuilder;
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
  const { table, lostBlocks, triedPlaces } = layer;
  if (lostBlocks.size > 0) markStale(database, lostBlocks);
  const unneededChunks = settleAddresses(database, table);
  const restoredChunks = layer.restoredChunks + lostBlocks.size;
  const image = layer.image ?? writeImage(database, paths, layer);
  try {
    const existing = findLayerByImage(database, image.sha256);
    const reused = existing !== undefined;
    const isImageRestored = reused && restoreImage(paths, existing, image);
    if (reused) enterBlobs(database, layer, existing.id);
    const layerId = existing?.id ?? enterLayer(database, paths, layer, image);
    if (triedPlaces.size > 0) markTried(database, triedPlaces, table.algorithm ?? 0);
    const addedBytes = reused ? 0 : addedContentBytes(table) + image.diskBytes;
    const { inodes } = image;
    const counts = { addedBytes, inodes, unneededChunks, restoredChunks };
    const lazyPack = reused ? undefined : layer.lazy?.pack?.pack;
    return { layerId, reused, isImageRestored, lazyPack, ...counts };
  } finally {
    rmSync(image.path, { force: true });
  }
}

/**
 * Looks up all chunks again, for another layer may have come first; counts what was written and is
 * unneeded, also because a later entry of a tar replaced the file.
 */
function settleAddresses(database: Database, table: ChunkTable): number {
  let unneeded = 0;
  let missing = 0;
  for (let first = 0; first < table.length; first += lookedUpAtOnce) {
    const count = Math.min(lookedUpAtOnce, table.length - first);
    const refs = Array.from({ length: count }, (_, index) => first + index).filter(
      (ref) => table.originOf(ref) !== "lazy",
    );
    const known = table.findKnown(database, refs);
    for (const ref of refs) {
      const origin = table.originOf(ref);
      const isWritten = origin === "written";
      if (table.usesOf(ref) === 0) {
        if (isWritten) unneeded += 1;
        continue;
      }
      const found = known.get(ref);
      // What was compressed with some effort is not given up for the same content as it is.
      const isBetter = isWritten && found?.encoding === 0 && table.storedOf(ref).encoding !== 0;
      const row = isBetter ? undefined : found;
      if (row !== undefined) table.settle(ref, row, "known");
      if (row !== undefined ? isWritten : isWritten && settleTwin(table, ref)) unneeded += 1;
      if (row === undefined && !isWritten) missing += 1;
    }
  }
  if (missing === 0) return unneeded;
  const message = `${missing} chunks were deleted while the layer was built`;
  throw new AppError("unavailable", message);
}

/** Bounds the rows in memory. */
const lookedUpAtOnce = 4096;

/**
 * The same content may have come in a file with holes and in one without, and been written raw for
 * both: then the first does for the second.
 */
function settleTwin(table: ChunkTable, ref: ChunkRef): boolean {
  const twin = table.twinOf(ref);
  if (twin === undefined || table.usesOf(twin) === 0) return false;
  if (table.storedOf(twin).encoding !== 0) return false;
  table.settle(ref, table.storedOf(twin), "known");
  return true;
}

function writeImage(database: Database, paths: StorePaths, layer: BuiltLayer): ImageFile {
  const { table } = layer;
  const packs = new Set<number>();
  for (const ref of table.used()) packs.add(packOfBlock(table.blockOf(ref)));
  const packIds = [...packs].sort((left, right) => left - right);
  const devices = packIds.map((packId) => ({
    tag: `${packId}.pack`,
    blocks: packBlocksOf(packId),
    uniaddr: firstBlockOfPack(packId),
  }));
  const packing = packingOf(database, table);
  const blockOf = (ref: ChunkRef) => table.blockOf(ref);
  // While content is missing the kernel asks for it, and it asks less often so (erofs/plan.ts).
  const namesDevices = packIds.some(isLazyPack);
  const options = { devices, blockOf, namesDevices, ...(packing && { packing }) };
  const plan = planImage(layer.tree, options);
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
      builder: "native",
    };
  } catch (error) {
    rmSync(path, { force: true });
    throw error instanceof AppError ? error : storageError(`write image "${path}"`, error);
  } finally {
    closeSync(file);
  }
}

/** Puts the new image in the place of a damaged one with the same content; whether it had to. */
function restoreImage(paths: StorePaths, existing: LayerRow, image: ImageFile): boolean {
  const identity = imageIdentity(paths, existing);
  if (problemOfImage(identity) === undefined) return false;
  renameSync(image.path, identity.path);
  syncFolder(paths.images);
  return true;
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
        const pack = layer.lazy?.pack;
        if (pack !== undefined) enterLazyPack(database, { ...pack, layer: layerId });
        enterBlobs(database, layer, layerId);
        renameSync(image.path, imagePath(paths, layerId));
        syncFolder(paths.images);
        return layerId;
      })
      .immediate();
  } catch (error) {
    throw storageError(`enter the layer into "${paths.indexDatabase}"`, error);
  }
}

/** What the layer was made of. */
function enterBlobs(database: Database, { blob, lazy }: BuiltLayer, layerId: number): void {
  if (blob !== undefined) enterLayerBlob(database, { ...blob, layer: layerId });
  if (lazy?.blob !== undefined) enterLazyBlob(database, lazy.blob, layerId);
}

function insertLayer(database: Database, layer: BuiltLayer, image: ImageFile): number {
  const { table } = layer;
  let uses = 0;
  for (const ref of table.indexed()) uses += table.usesOf(ref);
  const statement = database.query(
    `INSERT INTO layers (image_sha256, image_bytes, inodes, content_bytes, chunk_uses, packs,
       created_ns, builder) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const result = statement.run(
    image.sha256,
    image.sizeBytes,
    image.inodes,
    layer.contentBytes,
    uses,
    image.packs.join(","),
    realtimeNs(),
    image.builder,
  );
  return Number(result.lastInsertRowid);
}

function insertChunks(database: Database, layerId: number, table: ChunkTable): void {
  insertRows(
    database,
    "INSERT INTO chunks (place, sha256, encoding, size_bytes, blocks, extents, uses, setting)",
    8,
    chunkRows(table),
  );
  insertRows(
    database,
    "INSERT INTO bundles (block, blocks, size_bytes, encoding)",
    4,
    neededBundles(table).map((row) => [row.block, row.blocks, row.size_bytes, row.encoding]),
  );
  insertRows(
    database,
    "INSERT INTO layer_chunks (layer, place, uses)",
    3,
    usesByPlace(table).map(({ place, uses }) => [layerId, place, uses]),
  );
  database
    .query(
      `UPDATE chunks SET uses = chunks.uses + used.uses FROM layer_chunks AS used
       WHERE used.layer = ? AND used.place = chunks.place`,
    )
    .run(layerId);
}

function* chunkRows(table: ChunkTable): Generator<SQLQueryBindings[], void> {
  for (const ref of table.written()) {
    const { place, encoding, blocks, extents } = table.storedOf(ref);
    const sha256 = table.sha256Of(ref) as Uint8Array<ArrayBuffer>;
    const counts = extents as Uint8Array<ArrayBuffer> | null;
    yield [place, sha256, encoding, table.sizeOf(ref), blocks, counts, 0, table.algorithm ?? 0];
  }
}

/** How often the layer uses what lies at each place, ascending; two chunks may be one there. */
function* usesByPlace(table: ChunkTable): Generator<{ place: ChunkPlace; uses: number }, void> {
  const refs = Uint32Array.from(table.indexed());
  refs.sort((left, right) => table.placeOf(left) - table.placeOf(right));
  for (let at = 0; at < refs.length;) {
    const place = table.placeOf(refs[at]!);
    let uses = 0;
    for (; at < refs.length && table.placeOf(refs[at]!) === place; at++) {
      uses += table.usesOf(refs[at]!);
    }
    yield { place, uses };
  }
}

/** The new bundles that have a new chunk. */
function neededBundles(table: ChunkTable): BundleRow[] {
  if (table.writtenBundles.size === 0) return [];
  const blocks = new Set<BlockAddress>();
  for (const ref of table.written()) blocks.add(table.blockOf(ref));
  return [...table.writtenBundles.values()].filter(({ block }) => blocks.has(block));
}

function addedContentBytes(table: ChunkTable): number {
  let blocks = 0;
  for (const ref of table.written()) blocks += table.blocksOf(ref);
  for (const bundle of neededBundles(table)) blocks += bundle.blocks;
  return blocks * blockBytes;
}

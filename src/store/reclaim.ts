/**
 * Gives space back: blocks are punched out of packs, files without a row are deleted.
 *
 * The index forgets content first, then the bytes go. A crash in between leaves bytes that
 * `sweepStore` finds: everything in a pack that no chunk covers.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { closeSync, existsSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { punchHole, seekData } from "../../ffi/file.ts";
import { isOpenElsewhere } from "../../ffi/lease.ts";
import { allLayerIds } from "./index-database.ts";
import {
  blockBytes,
  blockOfPlace,
  blocksOfPack,
  isLazyPack,
  mergeRanges,
  packOffsetBytes,
  packOfBlock,
  placeOf,
  type BlockAddress,
  type BlockRange,
} from "./layout.ts";
import { forgetLazyLayer, listLazyPacks } from "./lazy-layers.ts";
import { deleteLazyPack } from "./lazy-pack.ts";
import {
  imagePath,
  numberInName,
  packOfMarker,
  packOfSidecar,
  packPath,
  type StorePaths,
} from "./paths.ts";

/** Frees blocks no chunk covers; they read as zeros from then on. A missing pack has none. */
export function discardRanges(paths: StorePaths, ranges: readonly BlockRange[]): void {
  const files = new Map<number, number>();
  try {
    for (const range of mergeRanges(ranges)) {
      const packId = packOfBlock(range.block);
      const path = packPath(paths, packId);
      if (!files.has(packId) && !existsSync(path)) continue;
      const file = files.get(packId) ?? openSync(path, "r+");
      files.set(packId, file);
      punchHole(file, packOffsetBytes(range.block), range.count * blockBytes);
    }
  } finally {
    for (const file of files.values()) closeSync(file);
  }
}

/** Frees those blocks of the ranges that no chunk covers. */
export function discardUncovered(
  database: Database,
  paths: StorePaths,
  ranges: readonly BlockRange[],
): void {
  const gaps = mergeRanges(ranges).flatMap((range) => gapsIn(database, range));
  discardRanges(paths, gaps);
}

/** The parts of a range of one pack that no content covers; content never straddles its ends. */
function gapsIn(database: Database, range: BlockRange): BlockRange[] {
  const gaps: BlockRange[] = [];
  let free = range.block;
  const addGap = (end: number) => {
    if (end > free) gaps.push({ block: free, count: end - free });
  };
  for (const content of contentIn(database, range)) {
    addGap(content.block);
    free = content.block + content.count;
  }
  addGap(range.block + range.count);
  return gaps;
}

/** The blocks of chunks and bundles that begin in the range, by address. */
export function contentIn(database: Database, range: BlockRange): Iterable<BlockRange> {
  const end = range.block + range.count;
  return database
    .query<BlockRange, [number, number, number, number]>(
      `SELECT place >> 17 AS block, blocks AS count FROM chunks
         WHERE place >= ? AND place < ? AND blocks > 0
       UNION ALL SELECT block, blocks AS count FROM bundles WHERE block >= ? AND block < ?
       ORDER BY block`,
    )
    .iterate(placeOf(range.block), placeOf(end), range.block, end);
}

/**
 * Deletes layers: their rows, the chunks only they used, their images, their lazy packs.
 *
 * A layer whose image somebody has open stays: a container whose snapshot was removed under it may
 * still run on a mount we cannot see, and would read zeros where its content was.
 *
 * @param waits for images that were unmounted just now
 * @returns the layers that stay
 */
export function deleteLayers(
  database: Database,
  paths: StorePaths,
  layerIds: readonly number[],
  waits = true,
): number[] {
  const inUse = findInUse(paths, layerIds, waits ? releaseWaitMs : 0);
  for (const layerId of layerIds) {
    if (inUse.includes(layerId)) continue;
    const dead = database.transaction(() => forgetLayer(database, layerId)).immediate();
    rmSync(imagePath(paths, layerId), { force: true });
    discardRanges(paths, dead.ranges);
    if (dead.lazyPack !== undefined) deleteLazyPack(paths, dead.lazyPack);
  }
  database.run("PRAGMA incremental_vacuum");
  database.run("PRAGMA wal_checkpoint(TRUNCATE)");
  return inUse;
}

/** A loop device lets go of its file some moments after the unmount. */
const releaseWaitMs = 1_000;
const releasePollMs = 10;

function findInUse(paths: StorePaths, layerIds: readonly number[], waitMsMax: number): number[] {
  const findIn = (ids: readonly number[]) => ids.filter((layerId) => isImageOpen(paths, layerId));
  let inUse = findIn(layerIds);
  for (let waitedMs = 0; inUse.length > 0 && waitedMs < waitMsMax; waitedMs += releasePollMs) {
    Bun.sleepSync(releasePollMs);
    inUse = findIn(inUse);
  }
  return inUse;
}

/** Whether a mount, in any namespace, or anybody else has the image open. */
export function isImageOpen(paths: StorePaths, layerId: number): boolean {
  const image = imagePath(paths, layerId);
  return existsSync(image) && isOpenElsewhere(image);
}

interface DeadContent {
  readonly ranges: readonly BlockRange[];
  readonly lazyPack: number | undefined;
}

function forgetLayer(database: Database, layerId: number): DeadContent {
  database
    .query(
      `UPDATE chunks SET uses = chunks.uses - used.uses FROM layer_chunks AS used
       WHERE used.layer = ? AND used.place = chunks.place`,
    )
    .run(layerId);
  const dead = database
    .query<{ place: number; blocks: number }, [number]>(
      `DELETE FROM chunks WHERE uses = 0
         AND place IN (SELECT place FROM layer_chunks WHERE layer = ?)
       RETURNING place, blocks`,
    )
    .all(layerId);
  database.query("DELETE FROM layer_chunks WHERE layer = ?").run(layerId);
  database.query("DELETE FROM layer_blobs WHERE layer = ?").run(layerId);
  const lazyPack = forgetLazyLayer(database, layerId);
  database.query("DELETE FROM layers WHERE id = ?").run(layerId);
  return { ranges: rangesOf(database, dead), lazyPack };
}

/** Where chunks lay that are gone, and the bundles that went with them. */
function rangesOf(
  database: Database,
  dead: readonly { readonly place: number; readonly blocks: number }[],
): BlockRange[] {
  const bundles = new Set<BlockAddress>();
  const ranges: BlockRange[] = [];
  for (const { place, blocks } of dead) {
    const block = blockOfPlace(place);
    if (blocks === 0) bundles.add(block);
    else ranges.push({ block, count: blocks });
  }
  return [...ranges, ...forgetEmptyBundles(database, bundles)];
}

/** Of these bundles, those without a member go; returns where they lay. */
export function forgetEmptyBundles(
  database: Database,
  blocks: Iterable<BlockAddress>,
): BlockRange[] {
  const query = database.query<BlockRange, [number, number, number]>(
    `DELETE FROM bundles WHERE block = ?
       AND NOT EXISTS (SELECT 1 FROM chunks WHERE place >= ? AND place < ?)
     RETURNING block, blocks AS count`,
  );
  return [...blocks].flatMap((block) => query.all(block, placeOf(block), placeOf(block + 1)));
}

/** Bytes in packs that no chunk covers, and files that no row names. */
export interface Leftovers {
  readonly ranges: readonly BlockRange[];
  readonly files: readonly string[];
}

/** Looks for what a crash left behind. Nothing may be under construction meanwhile. */
export function findLeftovers(database: Database, paths: StorePaths): Leftovers {
  const layers = new Set(allLayerIds(database));
  const files = readdirSync(paths.images)
    .filter((name) => !layers.has(numberInName(name, ".erofs") ?? -1))
    .map((name) => join(paths.images, name));
  const ranges: BlockRange[] = [];
  const lazyPacks = new Set(listLazyPacks(database).map(({ pack }) => pack));
  for (const name of readdirSync(paths.packs)) {
    const packId = numberInName(name, ".pack");
    if (packId !== undefined && !isLazyPack(packId)) {
      ranges.push(...leftoversOfPack(database, paths, packId));
    } else if (
      packOfMarker(name) === undefined &&
      !lazyPacks.has(packId ?? packOfSidecar(name) ?? -1)
    ) {
      files.push(join(paths.packs, name));
    }
  }
  return { ranges, files };
}

function leftoversOfPack(database: Database, paths: StorePaths, packId: number): BlockRange[] {
  const file = openSync(packPath(paths, packId), "r");
  try {
    return gapsIn(database, blocksOfPack(packId)).filter((gap) => hasData(file, gap));
  } finally {
    closeSync(file);
  }
}

/** Whether the file system keeps any data in the blocks. */
function hasData(file: number, range: BlockRange): boolean {
  const start = packOffsetBytes(range.block);
  const data = seekData(file, start);
  return data !== undefined && data < start + range.count * blockBytes;
}

export function removeLeftovers(paths: StorePaths, leftovers: Leftovers): void {
  for (const file of leftovers.files) rmSync(file, { force: true, recursive: true });
  discardRanges(paths, leftovers.ranges);
}

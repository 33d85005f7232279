/**
 * Content that is to be stored anew: marking it, and which layers have it.
 *
 * Images are immutable and name content by its place, so content moves by building a layer anew
 * (layer/rewrite.ts). A stale chunk is found by no new content; it dies as any chunk does, with the
 * last layer that uses it.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { type BlockAddress, type ChunkPlace, placeOf } from "./layout.ts";
import type { Encoding } from "./index-database.ts";

/** Marks what begins at these blocks: chunks, or all members of bundles. */
export function markStale(database: Database, blocks: Iterable<BlockAddress>): void {
  const statement = database.query("UPDATE chunks SET stale = 1 WHERE place >= ? AND place < ?");
  database
    .transaction(() => {
      for (const block of blocks) statement.run(placeOf(block), placeOf(block + 1));
    })
    .immediate();
}

/** Notes that raw chunks lie right under this setting of compression. */
export function markTried(
  database: Database,
  places: Iterable<ChunkPlace>,
  setting: Encoding,
): void {
  const statement = database.query("UPDATE chunks SET setting = ? WHERE place = ?");
  database
    .transaction(() => {
      for (const place of places) statement.run(setting, place);
    })
    .immediate();
}

/** A layer with content that is to be stored anew. */
export interface OutdatedLayer {
  readonly layer: number;
  /** Of content that is to be stored anew, as it lies in files; a chunk counts once. */
  readonly bytes: number;
}

export function hasStaleChunks(database: Database): boolean {
  return database.query("SELECT 1 FROM chunks WHERE stale = 1 LIMIT 1").get() !== null;
}

/** The layers with stale content; lazy ones are stored anew as a whole, when all is there. */
export function layersWithStale(database: Database): OutdatedLayer[] {
  // To find which layers use a chunk takes a look at what all of them use.
  if (!hasStaleChunks(database)) return [];
  return database
    .query<OutdatedLayer, []>(
      `SELECT layer, sum(size_bytes) AS bytes FROM layer_chunks JOIN chunks USING (place)
       WHERE stale = 1 AND layer NOT IN (SELECT layer FROM lazy_packs)
       GROUP BY layer ORDER BY layer`,
    )
    .all();
}

/**
 * The layers with stale content, and those with content that `setting` would store in another way:
 * compressed by another algorithm, or raw and never tried.
 */
export function layersToRecompress(database: Database, setting: Encoding): OutdatedLayer[] {
  return database
    .query<OutdatedLayer, { setting: number }>(
      `SELECT layer, sum(size_bytes) AS bytes FROM layer_chunks JOIN chunks USING (place)
       WHERE (stale = 1 OR (encoding <> 0 AND encoding <> $setting)
         OR (encoding = 0 AND $setting <> 0 AND setting <> $setting))
         AND layer NOT IN (SELECT layer FROM lazy_packs)
       GROUP BY layer ORDER BY layer`,
    )
    .all({ setting });
}

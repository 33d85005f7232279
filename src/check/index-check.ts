/** Whether the tables of the index agree with each other. */
import type { Database } from "bun:sqlite";
import { extentBytesMax } from "../erofs/compression.ts";
import type { BundleRow, ChunkRow } from "../store/index-database.ts";
import { contentIndex } from "../store/layer-files.ts";
import {
  blockOfPlace,
  blocksFor,
  bundleOffsetOfPlace,
  packIdMax,
  packIdMin,
  packOfBlock,
  placeOf,
  type BlockAddress,
} from "../store/layout.ts";
import { contentIn } from "../store/reclaim.ts";
import { repairsOfChunk, type Repair, type Report } from "./finding.ts";

export function checkIndex(database: Database, report: Report): void {
  checkOverlap(database, report);
  checkForm(database, report);
  checkUses(database, report);
  checkDangling(database, report);
}

/** Chunks and bundles lie inside one pack each and share no block. */
function checkOverlap(database: Database, report: Report): void {
  const whole = { block: 0, count: 2 ** 32 };
  let end = 0;
  for (const { block, count } of contentIn(database, whole)) {
    const next = block + count;
    const pack = packOfBlock(block);
    const isInside = pack >= packIdMin && pack <= packIdMax && packOfBlock(next - 1) === pack;
    if (block < end || !isInside) {
      const problem = block < end ? "overlaps the content before it" : "is outside of any pack";
      report({
        subject: `content at block ${block}`,
        problem,
        repairs: repairsOf(database, block),
      });
    }
    end = Math.max(end, next);
  }
}

/** The layers that use what begins at a block must go, then it is forgotten. */
function repairsOf(database: Database, block: BlockAddress): Repair[] {
  const places = database
    .query<{ place: number }, [number, number]>(
      "SELECT place FROM chunks WHERE place >= ? AND place < ?",
    )
    .all(placeOf(block), placeOf(block + 1));
  return [...places.flatMap(({ place }) => repairsOfChunk(database, place)), { kind: "recount" }];
}

/** How much of a pack a chunk takes fits its content, and a member lies in a bundle. */
function checkForm(database: Database, report: Report): void {
  const chunks = database.query<ChunkRow, []>("SELECT * FROM chunks ORDER BY place").iterate();
  const index = contentIndex(database);
  for (const chunk of chunks) {
    const block = blockOfPlace(chunk.place);
    const bundle = index.bundleHolding(block);
    const problem =
      chunk.blocks === 0 ? problemOfMember(chunk, bundle) : problemOfChunk(chunk, bundle);
    if (problem === undefined) continue;
    const repairs = repairsOfChunk(database, chunk.place);
    report({ subject: `chunk at block ${block}`, problem, repairs });
  }
}

function problemOfMember(chunk: ChunkRow, bundle: BundleRow | undefined): string | undefined {
  if (bundle?.block !== blockOfPlace(chunk.place)) return "belongs to a bundle that is not there";
  const endBytes = bundleOffsetOfPlace(chunk.place) + chunk.size_bytes;
  return endBytes > bundle.size_bytes ? "goes past the end of its bundle" : undefined;
}

function problemOfChunk(chunk: ChunkRow, bundle: BundleRow | undefined): string | undefined {
  const { extents, blocks, size_bytes: sizeBytes } = chunk;
  if (bundle !== undefined || bundleOffsetOfPlace(chunk.place) !== 0) return "lies in a bundle";
  const isWhole =
    extents === null
      ? blocks === blocksFor(sizeBytes)
      : extents.length === Math.ceil(sizeBytes / extentBytesMax) &&
        extents.reduce((sum, count) => sum + count, 0) === blocks;
  return isWhole ? undefined : `has ${blocks} blocks, which do not fit its content`;
}

function checkUses(database: Database, report: Report): void {
  const wrong = database
    .query<{ place: number; uses: number; found: number }, []>(
      `SELECT chunks.place, chunks.uses, coalesce(sum(layer_chunks.uses), 0) AS found
       FROM chunks LEFT JOIN layer_chunks ON layer_chunks.place = chunks.place
       GROUP BY chunks.place HAVING found <> chunks.uses OR found = 0`,
    )
    .iterate();
  const repairs = [{ kind: "recount" }] as const;
  for (const row of wrong) {
    const problem = `is counted as used ${row.uses} times, layers use it ${row.found} times`;
    report({ subject: `chunk at block ${blockOfPlace(row.place)}`, problem, repairs });
  }
  const empty = database
    .query<{ block: number }, []>(
      `SELECT block FROM bundles WHERE NOT EXISTS (
         SELECT 1 FROM chunks WHERE place >= bundles.block << 17
           AND place < (bundles.block + 1) << 17)`,
    )
    .iterate();
  for (const { block } of empty) {
    report({ subject: `bundle at block ${block}`, problem: "has no members", repairs });
  }
}

function checkDangling(database: Database, report: Report): void {
  const dangling = database
    .query<{ layer: number; count: number }, []>(
      `SELECT layer, count(*) AS count FROM layer_chunks
       WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.place = layer_chunks.place)
          OR NOT EXISTS (SELECT 1 FROM layers WHERE layers.id = layer_chunks.layer)
       GROUP BY layer`,
    )
    .iterate();
  for (const row of dangling) {
    const problem = `uses ${row.count} chunks, but it or they are not in the index`;
    const repairs = [{ kind: "give_up_layer", layerId: row.layer }] as const;
    report({ subject: `layer ${row.layer}`, problem, repairs });
  }
}

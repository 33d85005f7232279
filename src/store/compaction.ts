/**
 * Which bundles are worth writing anew without what is dead in them.
 *
 * A bundle keeps its space until its last member dies. To free what is dead, what lives is stored
 * anew, and so are the images of all layers that use it. That pays only where it frees at least
 * what it writes, so a run writes no byte that the death of another has not paid for: however often
 * it is looked, the node writes at most as much for this as pulls have written before.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import type { CompressionAlgorithm } from "../erofs/compression.ts";
import { defined } from "../util/assert.ts";
import { type BlockAddress, blockBytes } from "./layout.ts";
import { markStale } from "./stale-chunks.ts";

/** A bundle of which less than this share is alive is looked at. */
const liveShareMax = 0.5;

/** What a run would do, or does. */
export interface Compaction {
  readonly bundles: number;
  readonly layers: number;
  /** What is freed once no mount reads the old images any more. */
  readonly freedBytes: number;
  readonly writtenBytes: number;
}

interface Candidate {
  readonly block: BlockAddress;
  /** For what is dead in it. */
  readonly freedBytes: number;
  /** For what is alive. */
  readonly writtenBytes: number;
  readonly layers: number[];
}

/**
 * Marks the members of mostly dead bundles stale, as far as that pays; their layers are then to be
 * rewritten. Only bundles of `algorithm`, for others would be recompressed by the way. The caller
 * holds the lock of the store.
 */
export function condemnBundles(database: Database, algorithm: CompressionAlgorithm): Compaction {
  const { chosen, plan } = planCompaction(database, algorithm);
  markStale(
    database,
    chosen.map(({ block }) => block),
  );
  return plan;
}

function planCompaction(
  database: Database,
  algorithm: CompressionAlgorithm,
): { chosen: readonly Candidate[]; plan: Compaction } {
  const images = imageSizes(database);
  let chosen = findCandidates(database, algorithm);
  for (;;) {
    const plan = planOf(chosen, images);
    if (plan.freedBytes >= plan.writtenBytes) return { chosen, plan };
    const worst = worstLayer(chosen, images);
    chosen = chosen.filter(({ layers }) => !layers.includes(worst));
  }
}

interface CandidateRow {
  readonly block: BlockAddress;
  readonly blocks: number;
  readonly size: number;
  readonly live: number;
  readonly layer: number;
}

/** Mostly dead bundles, with each layer that uses them, one after the other. */
const mostlyDead = `
WITH alive AS (
  SELECT place >> 17 AS block, sum(size_bytes) AS live FROM chunks
  WHERE blocks = 0 AND stale = 0 AND encoding = ? GROUP BY place >> 17
), dying AS MATERIALIZED (
  SELECT block, bundles.blocks AS blocks, bundles.size_bytes AS size, live
  FROM alive JOIN bundles USING (block) WHERE live < bundles.size_bytes * ?
)
SELECT DISTINCT block, blocks, size, live, layer
FROM layer_chunks JOIN dying ON dying.block = layer_chunks.place >> 17`;

function findCandidates(database: Database, algorithm: CompressionAlgorithm): Candidate[] {
  const found = new Map<BlockAddress, Candidate>();
  const rows = database.query<CandidateRow, [number, number]>(mostlyDead);
  for (const { block, blocks, size, live, layer } of rows.iterate(algorithm, liveShareMax)) {
    const known = found.get(block);
    if (known !== undefined) {
      known.layers.push(layer);
      continue;
    }
    const storedBytes = blocks * blockBytes;
    const writtenBytes = Math.ceil((storedBytes * live) / size);
    const freedBytes = storedBytes - writtenBytes;
    found.set(block, { block, freedBytes, writtenBytes, layers: [layer] });
  }
  return [...found.values()];
}

function imageSizes(database: Database): Map<number, number> {
  const rows = database
    .query<{ id: number; image_bytes: number }, []>("SELECT id, image_bytes FROM layers")
    .all();
  return new Map(rows.map(({ id, image_bytes: bytes }) => [id, bytes]));
}

function planOf(chosen: readonly Candidate[], images: ReadonlyMap<number, number>): Compaction {
  const layers = new Set(chosen.flatMap((candidate) => candidate.layers));
  let freedBytes = 0;
  let writtenBytes = 0;
  for (const candidate of chosen) {
    freedBytes += candidate.freedBytes;
    writtenBytes += candidate.writtenBytes;
  }
  for (const layer of layers) writtenBytes += defined(images.get(layer), `layer ${layer}`);
  return { bundles: chosen.length, layers: layers.size, freedBytes, writtenBytes };
}

/** The layer whose image costs most for what its bundles free. */
function worstLayer(chosen: readonly Candidate[], images: ReadonlyMap<number, number>): number {
  const gains = new Map<number, number>();
  for (const { layers, freedBytes, writtenBytes } of chosen) {
    for (const layer of layers) {
      gains.set(layer, (gains.get(layer) ?? 0) + freedBytes - writtenBytes);
    }
  }
  const gainOf = (layer: number) => (gains.get(layer) ?? 0) / (images.get(layer) ?? 1);
  return [...gains.keys()].reduce((worst, layer) =>
    gainOf(layer) < gainOf(worst) ? layer : worst,
  );
}

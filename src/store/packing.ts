/**
 * How the chunks of a layer are stored, as the EROFS writer asks for it.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import type { Bundle, Packing } from "../erofs/compression.ts";
import { defined } from "../util/assert.ts";
import type { ChunkTable } from "./chunk-table.ts";
import { type BundleRow, findBundles } from "./index-database.ts";
import { type BlockAddress, bundleOffsetOfPlace } from "./layout.ts";

/** Undefined where nothing is compressed. All chunks that the layer uses are settled. */
export function packingOf(database: Database, table: ChunkTable): Packing | undefined {
  const { algorithm } = table;
  if (algorithm === undefined) return undefined;
  const bundles = bundlesOf(database, table);
  return {
    algorithm,
    extentBlocksOf: (chunk) => table.extentsOf(chunk) ?? undefined,
    bundleOffsetOf(chunk) {
      return table.blocksOf(chunk) === 0 ? bundleOffsetOfPlace(table.placeOf(chunk)) : undefined;
    },
    bundleAt: (block) => defined(bundles.get(block), `the bundle at block ${block}`),
  };
}

function bundlesOf(database: Database, table: ChunkTable): Map<BlockAddress, Bundle> {
  const bundles = new Map<BlockAddress, Bundle>();
  const known = new Set<BlockAddress>();
  const add = ({ block, blocks, size_bytes: sizeBytes }: BundleRow) =>
    bundles.set(block, { block, storedBlocks: blocks, sizeBytes });
  for (const ref of table.used()) {
    if (table.blocksOf(ref) > 0) continue;
    const block = table.blockOf(ref);
    const written = table.writtenBundles.get(block);
    if (written === undefined) known.add(block);
    else add(written);
  }
  findBundles(database, [...known], add);
  return bundles;
}

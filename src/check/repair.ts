/** Mends what can be mended, with the daemon stopped. */
import type { Database } from "bun:sqlite";
import { readdirSync, rmSync } from "node:fs";
import { usedPacks } from "../store/index-database.ts";
import { listLazyPacks } from "../store/lazy-layers.ts";
import { numberInName, packPath, type StorePaths } from "../store/paths.ts";
import { blockOfPlace } from "../store/layout.ts";
import {
  deleteLayers,
  findLeftovers,
  forgetEmptyBundles,
  removeLeftovers,
} from "../store/reclaim.ts";
import { unreachable } from "../util/assert.ts";
import type { Finding, Repair } from "./finding.ts";

/** Does all repairs the findings ask for, each once; returns a line for each. */
export function repairFindings(
  database: Database,
  paths: StorePaths,
  findings: readonly Finding[],
): string[] {
  const repairs = new Map<string, Repair>();
  for (const repair of findings.flatMap((finding) => finding.repairs)) {
    repairs.set(JSON.stringify(repair), repair);
  }
  const ordered = [...repairs.values()].toSorted((left, right) => rank(left) - rank(right));
  return ordered.map((repair) => repairOne(database, paths, repair));
}

/** Layers go first, then chunks, then counts, then bytes nobody counts any more. */
function rank(repair: Repair): number {
  const order: readonly Repair["kind"][] = [
    "give_up_layer",
    "delete_layer",
    "forget_chunk",
    "recount",
    "remove_leftovers",
  ];
  return order.indexOf(repair.kind);
}

function repairOne(database: Database, paths: StorePaths, repair: Repair): string {
  switch (repair.kind) {
    case "give_up_layer":
      deleteLayers(database, paths, [repair.layerId]);
      removeUnusedPacks(database, paths);
      return `layer ${repair.layerId} given up: remove the images that need it and pull them again`;
    case "delete_layer":
      deleteLayers(database, paths, [repair.layerId]);
      return `layer ${repair.layerId} deleted: no snapshot refers to it`;
    case "forget_chunk":
      database.query("DELETE FROM layer_chunks WHERE place = ?").run(repair.place);
      database.query("DELETE FROM chunks WHERE place = ?").run(repair.place);
      forgetEmptyBundles(database, [blockOfPlace(repair.place)]);
      return `chunk at block ${blockOfPlace(repair.place)} forgotten`;
    case "recount":
      recount(database);
      return "uses of chunks counted again";
    case "remove_leftovers": {
      const leftovers = findLeftovers(database, paths);
      removeLeftovers(paths, leftovers);
      return `${leftovers.files.length} files and ${leftovers.ranges.length} ranges removed`;
    }
    default:
      return unreachable(repair);
  }
}

function recount(database: Database): void {
  database.transaction(() => {
    database.run(
      `UPDATE chunks SET uses = (SELECT coalesce(sum(layer_chunks.uses), 0) FROM layer_chunks
         WHERE layer_chunks.place = chunks.place)`,
    );
    database.run("DELETE FROM chunks WHERE uses = 0");
    const bundles = database.query<{ block: number }, []>("SELECT block FROM bundles").all();
    forgetEmptyBundles(
      database,
      bundles.map(({ block }) => block),
    );
  })();
}

/** A pack may be damaged; with no content left in it, it is made anew when needed. */
function removeUnusedPacks(database: Database, paths: StorePaths): void {
  const used = new Set(usedPacks(database));
  for (const { pack } of listLazyPacks(database)) used.add(pack);
  for (const name of readdirSync(paths.packs)) {
    const packId = numberInName(name, ".pack");
    if (packId !== undefined && !used.has(packId)) rmSync(packPath(paths, packId));
  }
}

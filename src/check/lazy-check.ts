/** Whether lazy layers have their packs, and those what they say they have. */
import type { Database } from "bun:sqlite";
import { existsSync, readFileSync, statSync } from "node:fs";
import { describeError } from "../errors.ts";
import { presenceBits } from "../ondemand/presence.ts";
import { findLayer, packIdsOf } from "../store/index-database.ts";
import { LazyContent } from "../store/lazy-content.ts";
import { lazyPackOfLayer, listLazyPacks, type LazyPackRow } from "../store/lazy-layers.ts";
import { openPieces } from "../store/lazy-pack.ts";
import { isLazyPack, packBytesOf } from "../store/layout.ts";
import { packPath, type StorePaths } from "../store/paths.ts";
import { allLayerIds } from "../store/index-database.ts";
import type { Report } from "./finding.ts";
import type { PackCheckOptions } from "./pack-check.ts";

export function checkLazy(
  database: Database,
  paths: StorePaths,
  options: PackCheckOptions,
  report: Report,
): void {
  for (const row of listLazyPacks(database)) {
    const problem = problemOfFiles(database, paths, row) ;
    if (problem !== undefined) {
      const repairs = [{ kind: "give_up_layer", layerId: row.layer }] as const;
      report({ subject: `lazy pack ${row.pack} of layer ${row.layer}`, problem, repairs });
    } else if (options.readsData) {
      checkPieces(paths, row, options.progress, report);
    }
  }
}

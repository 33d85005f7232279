/**
 * The fsck of a root: do index, packs, images and snapshots agree?
 *
 * Reading is always safe, also beside a running daemon; then what is under construction is left
 * out. Repairs need the daemon stopped.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { findLeftovers, isImageOpen } from "../store/reclaim.ts";
import { allLayerIds } from "../store/index-database.ts";
import type { StorePaths } from "../store/paths.ts";
import type { Finding, Report } from "./finding.ts";
import { checkImages } from "./image-check.ts";
import { checkIndex } from "./index-check.ts";
import { checkLazy } from "./lazy-check.ts";
import { checkPacks } from "./pack-check.ts";

/** What `check` needs to know of the snapshots. */
export interface SnapshotFacts {
  /** By layer, how many snapshots are kept as it. */
  readonly layerReferences: ReadonlyMap<number, number>;
}

export interface CheckOptions {
  /** Reads and hashes all content. */
  readonly readsData: boolean;
  /** No daemon runs: what nothing refers to is a leftover, not work in progress. */
  readonly isExclusive: boolean;
  readonly progress: (bytes: number) => void;
}

export function checkRoot(
  database: Database,
  paths: StorePaths,
  snapshots: SnapshotFacts,
  options: CheckOptions,
): Finding[] {
  const findings: Finding[] = [];
  const report: Report = (finding) => findings.push(finding);
  checkIndex(database, report);
  checkPacks(database, paths, options, report);
  checkLazy(database, paths, options, report);
  checkImages(database, paths, report);
  checkReferences(database, snapshots, report);
  if (options.isExclusive) checkUnused(database, paths, snapshots, report);
  if (options.isExclusive) checkLeftovers(database, paths, report);
  return findings;
}

function checkReferences(database: Database, snapshots: SnapshotFacts, report: Report): void {
  const layers = new Set(allLayerIds(database));
  for (const [layerId, count] of snapshots.layerReferences) {
    if (layers.has(layerId)) continue;
    const problem = `is lost, but ${count} snapshots need it: remove their images and pull again`;
    report({ subject: `layer ${layerId}`, problem, repairs: [] });
  }
}

/** A layer that was replaced or removed under a container is no mistake while that runs. */
function checkUnused(
  database: Database,
  paths: StorePaths,
  snapshots: SnapshotFacts,
  report: Report,
): void {
  for (const layerId of allLayerIds(database)) {
    if (snapshots.layerReferences.has(layerId) || isImageOpen(paths, layerId)) continue;
    const repairs = [{ kind: "delete_layer", layerId }] as const;
    report({ subject: `layer ${layerId}`, problem: "is used by no snapshot", repairs });
  }
}

function checkLeftovers(database: Database, paths: StorePaths, report: Report): void {
  const { files, ranges } = findLeftovers(database, paths);
  const repairs = [{ kind: "remove_leftovers" }] as const;
  for (const subject of files) report({ subject, problem: "belongs to nothing", repairs });
  for (const { block, count } of ranges) {
    const problem = "hold data that belongs to no chunk";
    report({ subject: `up to ${count} blocks from block ${block}`, problem, repairs });
  }
}

/** Whether lazy layers have their packs, and those what they say they have. */
import type { Database } from "bun:sqlite";
import { statSync } from "node:fs";
import { describeError } from "../errors.ts";
import { Presence } from "../ondemand/presence.ts";
import { allLayerIds, findLayer, packIdsOf } from "../store/index-database.ts";
import { LazyContent } from "../store/lazy-content.ts";
import { lazyLayerOfPack, type LazyPackRow, listLazyPacks } from "../store/lazy-layers.ts";
import { openPieces } from "../store/lazy-pack.ts";
import { isLazyPack, packBytesOf } from "../store/layout.ts";
import { packPath, type StorePaths } from "../store/paths.ts";
import { toHex } from "../util/bytes.ts";
import type { Report } from "./finding.ts";
import type { PackCheckOptions } from "./pack-check.ts";

export function checkLazy(
  database: Database,
  paths: StorePaths,
  options: PackCheckOptions,
  report: Report,
): void {
  for (const row of listLazyPacks(database)) {
    const problem = problemOfPack(paths, row);
    if (problem !== undefined) {
      const repairs = [{ kind: "give_up_layer", layerId: row.layer }] as const;
      report({ subject: `layer ${row.layer}`, problem, repairs });
    } else if (options.readsData) {
      checkPieces(paths, row, options.progress, report);
    }
  }
  for (const layerId of allLayerIds(database)) checkDevices(database, layerId, report);
}

function problemOfPack(paths: StorePaths, { pack }: LazyPackRow): string | undefined {
  const path = packPath(paths, pack);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return `its lazy pack ${path} is missing`;
  const sizeBytes = packBytesOf(pack);
  if (found.size !== sizeBytes) return `${path} has ${found.size} bytes instead of ${sizeBytes}`;
  try {
    const { packBytes, length } = openPieces(paths, pack);
    Presence.read(path, length);
    return packBytes > sizeBytes ? `the pieces of ${path} do not fit in it` : undefined;
  } catch (error) {
    return `nobody knows what belongs in, or is in ${path}: ${describeError(error)}`;
  }
}

/** A pack that the image names must be that of the layer. */
function checkDevices(database: Database, layerId: number, report: Report): void {
  const layer = findLayer(database, layerId);
  for (const pack of layer === undefined ? [] : packIdsOf(layer).filter(isLazyPack)) {
    if (lazyLayerOfPack(database, pack)?.layer === layerId) continue;
    const problem = `needs lazy pack ${pack}, which is not its own`;
    report({ subject: `layer ${layerId}`, problem, repairs: [{ kind: "give_up_layer", layerId }] });
  }
}

/** What is said to be there is what it should be; the rest is still to be fetched. */
function checkPieces(
  paths: StorePaths,
  { pack, layer }: LazyPackRow,
  progress: (bytes: number) => void,
  report: Report,
): void {
  const path = packPath(paths, pack);
  using content = new LazyContent(paths, pack);
  const { pieces } = content;
  const isThere = Presence.read(path, pieces.length);
  for (let piece = 0; piece < pieces.length; piece++) {
    if (!isThere(piece)) continue;
    const isSound = content.isSound(piece);
    progress(pieces.sizeOf(piece));
    if (isSound) continue;
    const where = `${path} at byte ${pieces.packOffsetOf(piece)}`;
    report({
      subject: `piece ${toHex(pieces.at(piece).sha256)} in ${where}`,
      problem: "holds other bytes than it should",
      repairs: [{ kind: "give_up_layer", layerId: layer }],
    });
  }
}

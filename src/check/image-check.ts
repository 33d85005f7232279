/** Whether the images are intact and use just the chunks the index says. */
import type { Database } from "bun:sqlite";
import { describeError } from "../errors.ts";
import { allLayerIds, findLayer, imageIdentity } from "../store/index-database.ts";
import { contentIndex, filesOf, openImageFile } from "../store/layer-files.ts";
import { blockOfPlace, type ChunkPlace } from "../store/layout.ts";
import type { StorePaths } from "../store/paths.ts";
import { problemOfImage } from "../store/verify-image.ts";
import { defined } from "../util/assert.ts";
import type { Report } from "./finding.ts";

export function checkImages(database: Database, paths: StorePaths, report: Report): void {
  for (const layerId of allLayerIds(database)) {
    const problem = problemOfLayer(database, paths, layerId);
    if (problem === undefined) continue;
    const repairs = [{ kind: "give_up_layer", layerId }] as const;
    report({ subject: `layer ${layerId}`, problem, repairs });
  }
}

function problemOfLayer(
  database: Database,
  paths: StorePaths,
  layerId: number,
): string | undefined {
  const layer = defined(findLayer(database, layerId), `layer ${layerId}`);
  const image = imageIdentity(paths, layer);
  const problem = problemOfImage(image);
  if (problem !== undefined) return `its image ${image.path} ${problem}`;
  if (layer.builder === "mkfs") return undefined;
  try {
    return compareUses(usesInImage(database, image.path), usesInIndex(database, layerId));
  } catch (error) {
    return describeError(error);
  }
}

type Uses = Map<ChunkPlace, number>;

function usesInImage(database: Database, path: string): Uses {
  const uses: Uses = new Map();
  const index = contentIndex(database);
  using file = openImageFile(path);
  for (const { linkOf, pieces } of filesOf(file.image, index)) {
    if (linkOf !== undefined) continue;
    for (const piece of pieces()) {
      if (piece.kind !== "chunk") continue;
      const { place } = piece.chunk;
      uses.set(place, (uses.get(place) ?? 0) + 1);
    }
  }
  return uses;
}

function usesInIndex(database: Database, layerId: number): Uses {
  const rows = database
    .query<{ place: number; uses: number }, [number]>(
      "SELECT place, uses FROM layer_chunks WHERE layer = ?",
    )
    .all(layerId);
  return new Map(rows.map((row) => [row.place, row.uses]));
}

function compareUses(inImage: Uses, inIndex: Uses): string | undefined {
  for (const place of new Set([...inImage.keys(), ...inIndex.keys()])) {
    const [image, index] = [inImage.get(place) ?? 0, inIndex.get(place) ?? 0];
    if (image === index) continue;
    const where = `block ${blockOfPlace(place)}`;
    return `uses the chunk at ${where} ${image} times, the index says ${index} times`;
  }
  return undefined;
}

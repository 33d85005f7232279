/** Which packs dedupd has exposed, as the disk has it. */
import { existsSync, readdirSync } from "node:fs";
import { packOfMarker, type StorePaths } from "./paths.ts";

/**
 * Somebody may have them mounted, whatever the process that serves them knows of yet. Includes
 * those that were deleted while nobody could tell it.
 */
export function exposedPacks({ packs }: Pick<StorePaths, "packs">): number[] {
  if (!existsSync(packs)) return [];
  return readdirSync(packs).flatMap((name) => packOfMarker(name) ?? []);
}

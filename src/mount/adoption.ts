/**
 * What an earlier run of the daemon left mounted.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import type { MountMethod } from "./contract.ts";
import type { MountEntry } from "./mountinfo.ts";

/**
 * The layers that are mounted in `directory` (absolute, without symlinks), each at the place named
 * after it, and how. Mounts that are not EROFS or are named otherwise are none of our making.
 */
export function findMountedLayers(
  entries: readonly MountEntry[],
  directory: string,
): Map<number, MountMethod> {
  const found = new Map<number, MountMethod>();
  for (const entry of entries) {
    if (dirname(entry.mountPoint) !== directory) continue;
    const layerId = parseLayerId(basename(entry.mountPoint));
    if (layerId === undefined) continue;
    // A later entry lies on top of an earlier one at the same place.
    if (entry.fileSystem === "erofs") found.set(layerId, methodOf(entry));
    else found.delete(layerId);
  }
  return found;
}

function methodOf(entry: MountEntry): MountMethod {
  return entry.source.startsWith("/dev/") ? "loop" : "file";
}

/** Only the spelling that we write ourselves. */
function parseLayerId(name: string): number | undefined {
  const layerId = Number(name);
  return Number.isSafeInteger(layerId) && `${layerId}` === name && layerId >= 0
    ? layerId
    : undefined;
}

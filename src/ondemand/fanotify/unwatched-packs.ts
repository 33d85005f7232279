/**
 * Which packs nobody watched for a time, and which of them may have been read meanwhile.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { watchFile } from "../../../ffi/fanotify.ts";
import { isOpenElsewhere } from "../../../ffi/lease.ts";

import { numberInName, packPath } from "../../store/paths.ts";
import { PieceMap, pieceMapPath } from "../piece-map.ts";
import { Presence } from "../presence.ts";

/** Beside a pack that is exposed; its content says nothing. */
export function exposedMarker(packs: string, packId: number): string {
  return join(packs, `${packId}.exposed`);
}

export interface UnwatchedPacks {
  /** Inodes of all that are watched again by now. */
  readonly inodes: ReadonlySet<number>;
  /** Those that somebody has open: an image that is mounted. After a reboot there are none. */
  readonly open: readonly number[];
}

/**
 * Watches the incomplete packs that were exposed when the last process of ours ended. To be called
 * with a new group, before any of the packs is opened: who has one open is how it is seen that it
 * may have been read.
 *
 * @throws SyscallError where the file system has no such events
 */
export function watchAgain(group: number, packs: string): UnwatchedPacks {
  const inodes = new Set<number>();
  const open: number[] = [];
  for (const packId of incompletePacks(packs)) {
    const path = packPath({ packs }, packId);
    watchFile(group, path);
    inodes.add(statSync(path).ino);
    if (isOpenElsewhere(path)) open.push(packId);
  }
  return { inodes, open };
}

function incompletePacks(packs: string): number[] {
  return readdirSync(packs)
    .filter((name) => name.endsWith(".exposed"))
    .map((name) => numberInName(`${name.slice(0, -".exposed".length)}.pack`, ".pack"))
    .filter((packId) => packId !== undefined)
    .filter((packId) => isIncomplete(packPath({ packs }, packId)));
}

function isIncomplete(path: string): boolean {
  if (!existsSync(path)) return false;
  try {
    const { length } = new PieceMap(readFileSync(pieceMapPath(path)), path);
    return !Presence.open(path, length).isComplete;
  } catch {
    return true; // Damaged: whoever opens it says so. What reads it waits, and gets an error.
  }
}

/**
 * Which packs nobody watched for a time, and which of them may have been read meanwhile.
 *
 * @module
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { watchFile } from "../../../ffi/fanotify.ts";
import { isOpenElsewhere } from "../../../ffi/lease.ts";
import { exposedPacks } from "../../store/exposed-packs.ts";
import { packPath } from "../../store/paths.ts";
import { PieceMap, pieceMapPath } from "../piece-map.ts";
import { Presence } from "../presence.ts";

export interface UnwatchedPacks {
  /** Inodes of all that are watched by now. */
  readonly inodes: ReadonlySet<number>;
  /** Those that somebody has open: an image that is mounted. After a reboot there are none. */
  readonly open: readonly number[];
}

/**
 * Watches the incomplete packs that were exposed when the last process of ours ended, as far as
 * they are not. To be called before any of the packs is opened: who has one open is how it is seen
 * that it may have been read.
 *
 * @param watched inodes of what the group watches
 * @throws SyscallError where the file system has no such events
 */
export function watchAgain(
  group: number,
  packs: string,
  watched: ReadonlySet<number>,
): UnwatchedPacks {
  const inodes = new Set(watched);
  const open: number[] = [];
  for (const packId of incompletePacks(packs)) {
    const path = packPath({ packs }, packId);
    const { ino } = statSync(path);
    if (watched.has(ino)) continue;
    watchFile(group, path);
    inodes.add(ino);
    if (isOpenElsewhere(path)) open.push(packId);
  }
  return { inodes, open };
}

function incompletePacks(packs: string): number[] {
  return exposedPacks({ packs }).filter((packId) => isIncomplete(packPath({ packs }, packId)));
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

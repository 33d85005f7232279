/**
 * The time in the superblock, which all compact inodes share.
 *
 * The most frequent time of the inodes that could be compact saves the most: 32 bytes each.
 *
 * @module
 */
import { fitsCompact } from "./inode-record.ts";
import type { TreeIndex } from "./tree-index.ts";

export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/**
 * Times counted apart. A layer in which every file has its own time needs no table of a million;
 * a time first met after this many others is not considered, which costs space only.
 */
const timesMax = 1 << 16;

/** Of times equally frequent, the first in the order of the inodes; 0 where there are none. */
export function chooseEpoch(
  { tree, inodes, linkCounts }: TreeIndex,
  sizesBytes: Float64Array,
): Timestamp {
  const counts = new Map<number | string, { count: number; time: Timestamp }>();
  for (let number = 0; number < inodes.length; number++) {
    const inode = inodes[number]!;
    const uid = tree.inodes.uidOf(inode);
    const gid = tree.inodes.gidOf(inode);
    if (!fitsCompact(uid, gid, linkCounts[number]!, sizesBytes[number]!)) continue;
    const seconds = tree.inodes.secondsOf(inode);
    const nanoseconds = tree.inodes.nanosecondsOf(inode);
    const key = nanoseconds === 0 ? seconds : `${seconds}.${nanoseconds}`;
    const counted = counts.get(key);
    if (counted !== undefined) counted.count++;
    else if (counts.size < timesMax) counts.set(key, { count: 1, time: { seconds, nanoseconds } });
  }
  let most = { count: 0, time: { seconds: 0, nanoseconds: 0 } };
  for (const candidate of counts.values()) if (candidate.count > most.count) most = candidate;
  return most.time;
}

/**
 * Keeps the garbage of a build small.
 *
 * The runtime lets garbage grow as large as all that lives, the columns of a build and its buffers
 * included, before it collects. Here it is told to when the process has grown since the last time:
 * what is alive are few objects, so that a collection takes some milliseconds.
 *
 * @module
 */
import { MiB } from "./bytes.ts";

/** Asking the kernel costs as much as some hundred rows. */
const rowsPerCheck = 2048;
const grownBytesMax = 8 * MiB;

let rowsLeft = rowsPerCheck;
let smallestBytes = Number.POSITIVE_INFINITY;

/** To be called after a lot of work at once. */
export function noteWork(): void {
  noteRows(rowsPerCheck);
}

/**
 * To be called with each inode, name or chunk that is gone over, or with how many; collects garbage
 * now and then.
 */
export function noteRows(count = 1): void {
  rowsLeft -= count;
  if (rowsLeft > 0) return;
  rowsLeft = rowsPerCheck;
  const residentBytes = process.memoryUsage.rss();
  smallestBytes = Math.min(smallestBytes, residentBytes);
  if (residentBytes < smallestBytes + grownBytesMax) return;
  Bun.gc(true);
  smallestBytes = process.memoryUsage.rss();
}

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
/**
 * Of the time, at most one part in so many is spent on it. Where a lot is alive as objects, such as
 * the table of contents of a lazy layer, each collection takes tens of milliseconds.
 */
const timeShare = 12;

let rowsLeft = rowsPerCheck;
let smallestBytes = Number.POSITIVE_INFINITY;
let restsUntilMs = 0;

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
  const startMs = performance.now();
  if (startMs < restsUntilMs) return;
  const residentBytes = process.memoryUsage.rss();
  smallestBytes = Math.min(smallestBytes, residentBytes);
  if (residentBytes < smallestBytes + grownBytesMax) return;
  Bun.gc(true);
  smallestBytes = process.memoryUsage.rss();
  const endMs = performance.now();
  restsUntilMs = endMs + (endMs - startMs) * (timeShare - 1);
}

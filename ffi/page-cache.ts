/**
 * The page cache of a file: how much of it there is, and dropping it.
 *
 * @module
 */
import { fileAdvice, syscallNumber } from "./constants.ts";
import { check, SyscallError } from "./errno.ts";
import { boundSyscalls, libc } from "./libc.ts";
import { struct } from "./struct.ts";

/** `struct cachestat_range`, include/uapi/linux/mman.h; no length means to the end. */
const range = struct(16, [
  ["offset", "u64"],
  ["length", "u64"],
]);

/** `struct cachestat`, the same header; in pages. */
const cachestat = struct(40, [
  ["cached", "u64"],
  ["dirty", "u64"],
  ["writeback", "u64"],
  ["evicted", "u64"],
  ["recentlyEvicted", "u64"],
]);

/** How many pages of the file are cached: cachestat(2), Linux 6.5. */
export function cachedPages(fd: number): number {
  const [whole, result] = [range.encode({}), cachestat.encode({})];
  const number = syscallNumber.cachestat;
  check(boundSyscalls().cachestat(number, fd, whole, result, 0), "cachestat", `fd ${fd}`);
  return Number(cachestat.decode(result).cached);
}

/** Drops the cached pages of a file, but those that are mapped or being read: posix_fadvise(2). */
export function dropPages(fd: number): void {
  const errno = libc().posix_fadvise(fd, 0, 0, fileAdvice.doNotNeed);
  if (errno !== 0) throw new SyscallError("posix_fadvise", errno, `fd ${fd}`);
}

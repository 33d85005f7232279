/**
 * Making special files and setting times exactly, relative to a directory.
 *
 * @module
 */
import { type ByteString, displayName } from "../src/util/byte-string.ts";
import { atFlag, syscallNumber } from "./constants.ts";
import { check } from "./errno.ts";
import { boundSyscalls, libc } from "./libc.ts";
import { scratchName } from "./memory.ts";
import { encodeDevice } from "./status.ts";
import { struct } from "./struct.ts";

/** Makes a device node, FIFO, socket or empty file. @param mode type and permission bits */
export function makeNodeAt(
  dirFd: number,
  name: ByteString,
  mode: number,
  major = 0,
  minor = 0,
): void {
  const device = encodeDevice(major, minor);
  const { mknodat } = boundSyscalls();
  const result = mknodat(syscallNumber.mknodat, dirFd, scratchName(name), mode, device);
  check(result, "mknodat", displayName(name));
}

/** Two `struct timespec`: access, then modification. */
const times = struct(32, [
  ["atimeSeconds", "s64"],
  ["atimeNanoseconds", "s64"],
  ["mtimeSeconds", "s64"],
  ["mtimeNanoseconds", "s64"],
]);

/** UTIME_OMIT, include/linux/stat.h: leave this one as it is. */
const utimeOmit = 0x3ffffffen;

/** Sets the modification time of a name, of the symlink itself if it is one. */
export function setModificationTimeAt(
  dirFd: number,
  name: ByteString,
  seconds: number,
  nanoseconds: number,
): void {
  const bytes = times.encode({
    atimeNanoseconds: utimeOmit,
    mtimeSeconds: BigInt(seconds),
    mtimeNanoseconds: BigInt(nanoseconds),
  });
  const result = libc().utimensat(dirFd, scratchName(name), bytes, atFlag.symlinkNoFollow);
  check(result, "utimensat", displayName(name));
}

/**
 * Opening and locking files, and holes in them: what node:fs lacks, or does only by path.
 *
 * @module
 */
import { assert } from "../src/util/assert.ts";
import { type ByteString, byteString, displayName } from "../src/util/byte-string.ts";
import {
  atCurrentDirectory,
  fallocateFlag,
  lockOperation,
  openFlag,
  pathBytesMax,
  seekWhence,
  syncRangeFlag,
} from "./constants.ts";
import { check, errnoNumber, isErrno } from "./errno.ts";
import { libc } from "./libc.ts";
import { cPath, scratchName, zeroed } from "./memory.ts";
import { type FileStatus, statOf } from "./status.ts";

/** Opens a path of our own; symlinks are followed. @returns a descriptor to `close` */
export function open(path: string, flags: number, mode = 0o600): number {
  const allFlags = flags | openFlag.closeOnExec;
  return check(libc().openat(atCurrentDirectory, cPath(path), allFlags, mode), "open", path);
}

/**
 * Opens a name in a directory, never through a symlink (ELOOP, or ENOTDIR with
 * `openFlag.directory`). Never waits for the other end of a FIFO.
 */
export function openAt(dirFd: number, name: ByteString, flags: number, mode = 0o600): number {
  const guards = openFlag.noFollow | openFlag.nonBlocking | openFlag.noControllingTerminal;
  const allFlags = flags | openFlag.closeOnExec | guards;
  const fd = libc().openat(dirFd, scratchName(name), allFlags, mode);
  return check(fd, "openat", displayName(name));
}

/** Opens a directory in a directory, for reading. */
export function openDirectoryAt(dirFd: number, name: ByteString): number {
  return openAt(dirFd, name, openFlag.readOnly | openFlag.directory);
}

export function close(fd: number): void {
  check(libc().close(fd), "close", `fd ${fd}`);
}

/** Makes `target` another descriptor of the open file, in the place of what it was: dup3(2). */
export function duplicateTo(fd: number, target: number): void {
  check(libc().dup3(fd, target, openFlag.closeOnExec), "dup3", `fd ${fd} to ${target}`);
}

export interface OpenFile {
  readonly fd: number;
  /** Of the very file that `fd` is. */
  readonly status: FileStatus;
}

const fileTypeMask = 0o170000;
const regularType = 0o100000;

/**
 * Opens a name for reading if it is a regular file; `undefined` if it is anything else by now.
 *
 * Opening a device node may have effects of its own, and who owns the directory may put one in the
 * place of a file between a stat and an open. So the file is first opened as a mere location
 * (O_PATH), looked at, and then that same file is opened.
 */
export function openRegularAt(dirFd: number, name: ByteString): OpenFile | undefined {
  const location = openAt(dirFd, name, openFlag.path);
  try {
    const status = statOf(location);
    if ((status.mode & fileTypeMask) !== regularType) return undefined;
    return { fd: open(`/proc/self/fd/${location}`, openFlag.readOnly), status };
  } finally {
    close(location);
  }
}

// The longest target a symlink can have is PATH_MAX - 1; one byte more shows a cut.
const linkTarget = zeroed(pathBytesMax + 1);

export function readLinkAt(dirFd: number, name: ByteString): ByteString {
  const result = libc().readlinkat(dirFd, scratchName(name), linkTarget, linkTarget.length);
  const length = check(result, "readlinkat", displayName(name));
  assert(length < linkTarget.length, "a symlink is longer than PATH_MAX");
  return byteString(linkTarget.subarray(0, length));
}

/** Gives the blocks of a range back to the file system; the range then reads as zeros. */
export function punchHole(fd: number, offsetBytes: number, lengthBytes: number): void {
  assertOffset(offsetBytes);
  assert(Number.isSafeInteger(lengthBytes) && lengthBytes > 0, `a hole of ${lengthBytes} bytes`);
  const mode = fallocateFlag.punchHole | fallocateFlag.keepSize;
  check(libc().fallocate(fd, mode, offsetBytes, lengthBytes), "fallocate", `fd ${fd}`);
}

/** Where data starts at or behind `offsetBytes`; `undefined` if only a hole follows. */
export function seekData(fd: number, offsetBytes: number): number | undefined {
  return seek(fd, offsetBytes, seekWhence.data);
}

/** Where a hole starts at or behind `offsetBytes` (the end counts); `undefined` behind it. */
export function seekHole(fd: number, offsetBytes: number): number | undefined {
  return seek(fd, offsetBytes, seekWhence.hole);
}

function seek(fd: number, offsetBytes: number, whence: number): number | undefined {
  assertOffset(offsetBytes);
  try {
    return check(libc().lseek(fd, offsetBytes, whence), "lseek", `fd ${fd}`);
  } catch (error) {
    if (isErrno(error, errnoNumber.noDeviceOrAddress)) return undefined;
    throw error;
  }
}

/**
 * Fills the first `lengthBytes` of a buffer from a place in a file: pread(2), once.
 *
 * @returns how many bytes came; fewer at the end of the file
 */
export function readAt(
  fd: number,
  buffer: Uint8Array,
  lengthBytes: number,
  offsetBytes: number,
): number {
  assertOffset(offsetBytes);
  assert(lengthBytes <= buffer.length, `${lengthBytes} bytes do not fit in ${buffer.length}`);
  return check(libc().pread(fd, buffer, lengthBytes, offsetBytes), "pread", `fd ${fd}`);
}

function assertOffset(offsetBytes: number): void {
  assert(Number.isSafeInteger(offsetBytes) && offsetBytes >= 0, `an offset of ${offsetBytes}`);
}

/**
 * Takes the exclusive advisory lock of an open file (flock), held until all descriptors of that
 * opening are closed. @returns false if another opening holds it
 */
export function tryLockExclusive(fd: number): boolean {
  try {
    const operation = lockOperation.exclusive | lockOperation.nonBlocking;
    check(libc().flock(fd, operation), "flock", `fd ${fd}`);
    return true;
  } catch (error) {
    if (isErrno(error, errnoNumber.again)) return false;
    throw error;
  }
}

/**
 * Has the kernel begin to write a range of the file to the disk, without waiting for it:
 * sync_file_range(2). No substitute for a sync, which it makes shorter.
 */
export function startWriteback(fd: number, offsetBytes: number, lengthBytes: number): void {
  assertOffset(offsetBytes);
  const result = libc().sync_file_range(fd, offsetBytes, lengthBytes, syncRangeFlag.write);
  check(result, "sync_file_range", `fd ${fd}`);
}

/** Starts to read the beginning of a file into the page cache, without waiting: readahead(2). */
export function readAhead(fd: number, lengthBytes: number): void {
  check(libc().readahead(fd, 0, lengthBytes), "readahead", `fd ${fd}`);
}

/** Writes all of the file system that the open file is on to its disk: syncfs(2). */
export function syncFilesystem(fd: number): void {
  check(libc().syncfs(fd), "syncfs", `fd ${fd}`);
}

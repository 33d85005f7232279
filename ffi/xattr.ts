/**
 * Extended attributes of a name in a directory, never through a symlink; names and values are
 * bytes.
 *
 * There is no dirfd-relative call before Linux 6.13, so the path is `/proc/self/fd/<dirFd>/<name>`:
 * its first part cannot be tampered with, and the `l` variants do not follow the last.
 *
 * @module
 */
import {
  type ByteString,
  byteString,
  byteStringOfText,
  compareByteStrings,
  displayName,
} from "../src/util/byte-string.ts";
import { pathBytesMax, xattrListBytesMax, xattrValueBytesMax } from "./constants.ts";
import { check, errnoNumber, isErrno, SyscallError } from "./errno.ts";
import { libc } from "./libc.ts";
import { cBytes, cPath, scratchName, zeroed } from "./memory.ts";

export interface XattrEntry {
  /** The whole name, such as `security.capability`. */
  readonly name: ByteString;
  readonly value: Uint8Array;
}

const noEntries: readonly XattrEntry[] = [];

// The kernel allocates as much as it is offered, so most calls offer little; the second size is
// the most it ever returns, so a list that grows between two calls cannot be missed.
const smallBytes = 1024;
const list = zeroed(xattrListBytesMax);
const value = zeroed(xattrValueBytesMax);

/**
 * All attributes the caller may see, sorted by name; none where the file system has none. An
 * attribute removed while this runs is left out.
 */
export function listXattrs(dirFd: number, name: ByteString): readonly XattrEntry[] {
  const path = locate(dirFd, name);
  const listBytes = listNames(path, name);
  if (listBytes === 0) return noEntries;
  const names = byteString(list.subarray(0, listBytes - 1)).split("\0") as ByteString[];
  const entries: XattrEntry[] = [];
  for (const xattrName of names.sort(compareByteStrings)) {
    const bytes = readValue(path, xattrName, name);
    if (bytes !== undefined) entries.push({ name: xattrName, value: bytes });
  }
  return entries;
}

/** The value of one attribute, given as text such as `user.note`; `undefined` if not there. */
export function getXattr(
  dirFd: number,
  name: ByteString,
  xattrName: string,
): Uint8Array | undefined {
  return readValue(locate(dirFd, name), byteStringOfText(xattrName), name);
}

/** Sets an attribute, whether or not it was there. */
export function setXattr(
  dirFd: number,
  name: ByteString,
  xattrName: string,
  bytes: Uint8Array,
): void {
  const content = zeroed(Math.max(bytes.length, 1));
  content.set(bytes);
  const path = locate(dirFd, name);
  const result = libc().lsetxattr(path, cPath(xattrName), content, bytes.length, 0);
  check(result, "lsetxattr", displayName(name));
}

// Room for the prefix before the longest name; what is too long for a path the kernel refuses.
const location = zeroed(2 * pathBytesMax);

/** The path, in a buffer that the next call overwrites: this is done a million times. */
function locate(dirFd: number, name: ByteString): Buffer {
  const nameWithNul = scratchName(name);
  const prefixBytes = location.write(`/proc/self/fd/${dirFd}/`, 0, "latin1");
  location.set(nameWithNul.subarray(0, name.length + 1), prefixBytes);
  return location;
}

/** Fills `list`; the bytes that are valid in it. */
function listNames(path: Buffer, name: ByteString): number {
  const result = libc().llistxattr(path, list, smallBytes);
  if (result >= 0) return Number(result);
  try {
    return check(result, "llistxattr", displayName(name));
  } catch (error) {
    if (isErrno(error, errnoNumber.notSupported)) return 0;
    if (!isErrno(error, errnoNumber.range)) throw error;
  }
  const whole = libc().llistxattr(path, list, list.length);
  return check(whole, "llistxattr", displayName(name));
}

function readValue(path: Buffer, xattrName: ByteString, name: ByteString): Buffer | undefined {
  const cName = cBytes(xattrName);
  for (const sizeBytes of [smallBytes, value.length]) {
    const result = libc().lgetxattr(path, cName, value, sizeBytes);
    try {
      const length = check(result, "lgetxattr", displayName(name));
      return Buffer.from(value.subarray(0, length));
    } catch (error) {
      const isAbsent =
        isErrno(error, errnoNumber.noData) || isErrno(error, errnoNumber.notSupported);
      if (isAbsent) return undefined;
      if (!isErrno(error, errnoNumber.range) || sizeBytes === value.length) throw error;
    }
  }
  throw new SyscallError("lgetxattr", errnoNumber.range, displayName(name));
}

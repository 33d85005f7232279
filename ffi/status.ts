/**
 * The status of files: statx(2), relative to a directory, without following symlinks.
 *
 * @module
 */
import type { ByteString } from "../src/util/byte-string.ts";
import { displayName } from "../src/util/byte-string.ts";
import { atFlag } from "./constants.ts";
import { check } from "./errno.ts";
import { libc } from "./libc.ts";
import { scratchName, zeroed } from "./memory.ts";
import { struct } from "./struct.ts";

export interface FileStatus {
  /** Type and permission bits, as `st_mode`. */
  readonly mode: number;
  readonly linkCount: number;
  readonly uid: number;
  readonly gid: number;
  /** With the device, the identity of the file. */
  readonly inode: bigint;
  readonly sizeBytes: number;
  /** What the file takes on disk, in units of 512 bytes. */
  readonly blocks512: number;
  /** Seconds since 1970; negative before. */
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  /** The file system the file is on. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** What a device node stands for; 0 for other files. */
  readonly nodeMajor: number;
  readonly nodeMinor: number;
}

/** `struct statx`, include/uapi/linux/stat.h. */
const statx = struct(256, [
  ["mask", "u32"],
  ["blksize", "u32"],
  ["attributes", "u64"],
  ["nlink", "u32"],
  ["uid", "u32"],
  ["gid", "u32"],
  ["mode", "u16"],
  ["spare0", "bytes2"],
  ["ino", "u64"],
  ["size", "u64"],
  ["blocks", "u64"],
  ["attributesMask", "u64"],
  ["atime", "bytes16"],
  ["btime", "bytes16"],
  ["ctime", "bytes16"],
  ["mtimeSeconds", "s64"],
  ["mtimeNanoseconds", "u32"],
  ["spare1", "bytes4"],
  ["rdevMajor", "u32"],
  ["rdevMinor", "u32"],
  ["devMajor", "u32"],
  ["devMinor", "u32"],
  ["mountId", "u64"],
  ["spare2", "bytes104"],
]);

/** STATX_BASIC_STATS: what stat(2) has. */
const basicStats = 0x7ff;
/** STATX_INO. */
const inodeOnly = 0x100;

// One buffer per thread, and offsets as constants: a layer's walk decodes a million of these.
const result = zeroed(statx.sizeBytes);
const view = new DataView(result.buffer);
const at = statx.offsets;
const emptyName = zeroed(1);

/** The status of a name in a directory; of the symlink itself, if it is one. */
export function statAt(dirFd: number, name: ByteString): FileStatus {
  const status = libc().statx(dirFd, scratchName(name), atFlag.symlinkNoFollow, basicStats, result);
  if (status < 0) check(status, "statx", displayName(name));
  return decodeStatus();
}

/** The status of an open file. */
export function statOf(fd: number): FileStatus {
  const status = libc().statx(fd, emptyName, atFlag.emptyPath, basicStats, result);
  check(status, "statx", `fd ${fd}`);
  return decodeStatus();
}

/** The number of an open file in its file system: no more is asked for, no object is made. */
export function inodeOf(fd: number): number {
  const status = libc().statx(fd, emptyName, atFlag.emptyPath, inodeOnly, result);
  if (status < 0) check(status, "statx", `fd ${fd}`);
  return number64(at.ino);
}

function decodeStatus(): FileStatus {
  return {
    mode: view.getUint16(at.mode, true),
    linkCount: view.getUint32(at.nlink, true),
    uid: view.getUint32(at.uid, true),
    gid: view.getUint32(at.gid, true),
    inode: view.getBigUint64(at.ino, true),
    sizeBytes: number64(at.size),
    blocks512: number64(at.blocks),
    mtimeSeconds: view.getInt32(at.mtimeSeconds + 4, true) * 2 ** 32 + low(at.mtimeSeconds),
    mtimeNanoseconds: view.getUint32(at.mtimeNanoseconds, true),
    deviceMajor: view.getUint32(at.devMajor, true),
    deviceMinor: view.getUint32(at.devMinor, true),
    nodeMajor: view.getUint32(at.rdevMajor, true),
    nodeMinor: view.getUint32(at.rdevMinor, true),
  };
}

function low(offset: number): number {
  return view.getUint32(offset, true);
}

/** Sizes are below 2^63 and file systems end far below 2^53, where numbers are exact. */
function number64(offset: number): number {
  return view.getUint32(offset + 4, true) * 2 ** 32 + low(offset);
}

/** A device number as the kernel passes it in one word (include/linux/kdev_t.h, new_encode_dev). */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

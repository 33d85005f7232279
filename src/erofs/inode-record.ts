/**
 * The inode on disk: 32 bytes (compact) where everything fits, 64 bytes (extended) otherwise.
 *
 * A compact inode has no time of its own, it has the epoch of the superblock. It holds 16-bit ids
 * and link counts and sizes below 4 GiB. Encoding is by hand because an image has up to a million
 * of them.
 *
 * @module
 */
import {
  compactInodeField as compact,
  compactInodeSizeBytes,
  type DataLayout,
  extendedInodeField as extended,
  extendedInodeSizeBytes,
  inodeFormat,
} from "./format.ts";

export interface InodeRecord {
  readonly isExtended: boolean;
  readonly layout: DataLayout;
  /** `i_xattr_icount`: 0, or 1 + the inline xattr bytes behind the header / 4. */
  readonly xattrCount: number;
  readonly mode: number;
  readonly sizeBytes: number;
  /** `i_u`: first block, device number or chunk format. */
  readonly union: number;
  /** For 32-bit stat only; `st_ino` is the nid. */
  readonly inodeNumber: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkCount: number;
  /** For a compact inode the epoch of the superblock. */
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
}

export const deviceMajorMax = 0xfff;
export const deviceMinorMax = 0xfffff;

const uint16Max = 0xffff;
const uint32Max = 0xffffffff;

export function inodeSizeBytes(isExtended: boolean): number {
  return isExtended ? extendedInodeSizeBytes : compactInodeSizeBytes;
}

/** Whether a compact inode can hold all but the time. */
export function fitsCompact(
  uid: number,
  gid: number,
  linkCount: number,
  sizeBytes: number,
): boolean {
  return uid <= uint16Max && gid <= uint16Max && linkCount <= uint16Max && sizeBytes <= uint32Max;
}

/** The bytes from `at` on must be zero; returns the size of what was written. */
export function writeInodeRecord(view: DataView, at: number, inode: InodeRecord): number {
  const { isExtended } = inode;
  const format =
    (inode.layout << inodeFormat.layoutShift) | (isExtended ? inodeFormat.extended : 0);
  view.setUint16(at + compact.format, format, true);
  view.setUint16(at + compact.xattrCount, inode.xattrCount, true);
  view.setUint16(at + compact.mode, inode.mode, true);
  if (isExtended) {
    setInt64(view, at + extended.sizeBytes, inode.sizeBytes);
    view.setUint32(at + extended.union, inode.union, true);
    view.setUint32(at + extended.inodeNumber, inode.inodeNumber, true);
    view.setUint32(at + extended.uid, inode.uid, true);
    view.setUint32(at + extended.gid, inode.gid, true);
    setInt64(view, at + extended.mtimeSeconds, inode.mtimeSeconds);
    view.setUint32(at + extended.mtimeNanoseconds, inode.mtimeNanoseconds, true);
    view.setUint32(at + extended.linkCount, inode.linkCount, true);
    return extendedInodeSizeBytes;
  }
  view.setUint16(at + compact.linkCount, inode.linkCount, true);
  view.setUint32(at + compact.sizeBytes, inode.sizeBytes, true);
  view.setUint32(at + compact.union, inode.union, true);
  view.setUint32(at + compact.inodeNumber, inode.inodeNumber, true);
  view.setUint16(at + compact.uid, inode.uid, true);
  view.setUint16(at + compact.gid, inode.gid, true);
  return compactInodeSizeBytes;
}

/**
 * Reads an inode of which `view` holds all bytes. Numbers are as they stand there: `layout` may be
 * one that does not exist, and size and time may be no safe integers; the caller checks.
 */
export function readInodeRecord(
  view: DataView,
  epochSeconds: number,
  epochNanoseconds: number,
): InodeRecord {
  const format = view.getUint16(compact.format, true);
  const isExtended = (format & inodeFormat.extended) !== 0;
  const common = {
    isExtended,
    layout: (format >> inodeFormat.layoutShift) as DataLayout,
    xattrCount: view.getUint16(compact.xattrCount, true),
    mode: view.getUint16(compact.mode, true),
  };
  if (isExtended) {
    return {
      ...common,
      sizeBytes: Number(view.getBigUint64(extended.sizeBytes, true)),
      union: view.getUint32(extended.union, true),
      inodeNumber: view.getUint32(extended.inodeNumber, true),
      uid: view.getUint32(extended.uid, true),
      gid: view.getUint32(extended.gid, true),
      linkCount: view.getUint32(extended.linkCount, true),
      mtimeSeconds: Number(view.getBigInt64(extended.mtimeSeconds, true)),
      mtimeNanoseconds: view.getUint32(extended.mtimeNanoseconds, true),
    };
  }
  return {
    ...common,
    sizeBytes: view.getUint32(compact.sizeBytes, true),
    union: view.getUint32(compact.union, true),
    inodeNumber: view.getUint32(compact.inodeNumber, true),
    uid: view.getUint16(compact.uid, true),
    gid: view.getUint16(compact.gid, true),
    linkCount: view.getUint16(compact.linkCount, true),
    mtimeSeconds: epochSeconds,
    mtimeNanoseconds: epochNanoseconds,
  };
}

/** Writes a safe integer without making a bigint of it. */
function setInt64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setInt32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** The device number as `new_encode_dev` (include/linux/kdev_t.h) packs it into 32 bits. */
export function encodeDeviceNumber(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

export function decodeDeviceNumber(encoded: number): { major: number; minor: number } {
  return {
    major: (encoded >>> 8) & deviceMajorMax,
    minor: (encoded & 0xff) | ((encoded >>> 12) & 0xfff00),
  };
}

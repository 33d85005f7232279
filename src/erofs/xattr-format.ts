/**
 * Extended attributes on disk: name prefixes, entries, the name filter.
 *
 * A name is stored as the number of its prefix and the rest. The filter is a 32-bit Bloom filter of
 * one inode's names in which a *set* bit means "not present", so that the kernel answers most
 * lookups of absent names (security.capability on every exec) without reading further.
 *
 * @module
 */
import { type ByteString, bytesOf, byteString } from "../util/byte-string.ts";
import { alignUp } from "../util/bytes.ts";
import { xattrEntryField, xattrEntrySizeBytes, xattrUnitBytes } from "./format.ts";
import type { Xattr } from "./tree.ts";

interface XattrPrefix {
  readonly index: number;
  readonly prefix: string;
  /** The prefix is the whole name. */
  readonly isWholeName?: true;
}

/** `erofs_xattr_prefix` of fs/erofs/xattr.h; Lustre's (5) has no handler in the kernel. */
const xattrPrefixes: readonly XattrPrefix[] = [
  { index: 1, prefix: "user." },
  { index: 2, prefix: "system.posix_acl_access", isWholeName: true },
  { index: 3, prefix: "system.posix_acl_default", isWholeName: true },
  { index: 4, prefix: "trusted." },
  { index: 6, prefix: "security." },
];

export interface SplitXattrName {
  readonly index: number;
  /** What follows the prefix. */
  readonly suffix: ByteString;
}

/** undefined where EROFS knows no prefix for the name. */
export function splitXattrName(name: ByteString): SplitXattrName | undefined {
  for (const { index, prefix, isWholeName } of xattrPrefixes) {
    if (isWholeName === true ? name === prefix : name.startsWith(prefix)) {
      return { index, suffix: name.slice(prefix.length) as ByteString };
    }
  }
  return undefined;
}

/** undefined where the prefix is not known, or must be the whole name and is not. */
export function joinXattrName(index: number, suffix: Uint8Array): ByteString | undefined {
  const found = xattrPrefixes.find((candidate) => candidate.index === index);
  if (found === undefined || (found.isWholeName === true) !== (suffix.length === 0)) {
    return undefined;
  }
  return (found.prefix + byteString(suffix)) as ByteString;
}

/** EROFS_XATTR_FILTER_SEED of erofs_fs.h. */
const filterSeed = 0x25bbe08f;
const filterBits = 32;

/** `h_name_filter` of an inode with these xattrs. */
export function xattrNameFilter(names: readonly SplitXattrName[]): number {
  let present = 0;
  for (const { index, suffix } of names) {
    present |= 1 << (Bun.hash.xxHash32(bytesOf(suffix), filterSeed + index) % filterBits);
  }
  return ~present >>> 0;
}

/** The size of the entry of an xattr whose name has `suffixBytes` behind its prefix. */
export function xattrEntryTotalBytes(suffixBytes: number, valueBytes: number): number {
  return alignUp(xattrEntrySizeBytes + suffixBytes + valueBytes, xattrUnitBytes);
}

/** Writes an entry into zeroed bytes at `at` and returns where the next one begins. */
export function writeXattrEntry(
  bytes: Buffer,
  at: number,
  name: SplitXattrName,
  value: Xattr["value"],
): number {
  bytes.writeUInt8(name.suffix.length, at + xattrEntryField.nameLength);
  bytes.writeUInt8(name.index, at + xattrEntryField.nameIndex);
  bytes.writeUInt16LE(value.length, at + xattrEntryField.valueSizeBytes);
  bytes.write(name.suffix, at + xattrEntrySizeBytes, "latin1");
  bytes.set(value, at + xattrEntrySizeBytes + name.suffix.length);
  return at + xattrEntryTotalBytes(name.suffix.length, value.length);
}

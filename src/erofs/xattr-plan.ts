/**
 * Where the xattrs of an image go: behind their inodes, or once into the shared area.
 *
 * A pair of name and value that several inodes have (an SELinux label, a default ACL) is stored
 * once, and each inode refers to it with 4 bytes. Lists are known by identity: trees share one
 * array among all inodes with equal xattrs, so a million inodes mean few lists.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { type ByteString, byteString, displayName } from "../util/byte-string.ts";
import { xattrHeaderField, xattrHeaderSizeBytes, xattrUnitBytes } from "./format.ts";
import type { Xattr } from "./tree.ts";
import {
  splitXattrName,
  type SplitXattrName,
  writeXattrEntry,
  xattrEntryTotalBytes,
  xattrNameFilter,
} from "./xattr-format.ts";

/** `e_value_size` is 16 bits, so one byte less than Linux allows (XATTR_SIZE_MAX). */
const valueBytesMax = 0xffff;
/** `h_shared_count` is 8 bits. */
const sharedPerInodeMax = 0xff;
/** `i_xattr_icount` is 16 bits and counts units behind the header, plus one. */
const bodyBytesMax = xattrHeaderSizeBytes + (0xffff - 1) * xattrUnitBytes;

/** One name and value; the same object for all lists that have it. */
interface XattrPair {
  readonly name: SplitXattrName;
  readonly value: Uint8Array;
  readonly entryBytes: number;
  uses: number;
  /** In units from the start of the shared area; undefined while, or where, not shared. */
  sharedId: number | undefined;
}

interface XattrList {
  readonly pairs: readonly XattrPair[];
  uses: number;
  /** Known once it is settled what is shared. */
  bodyBytes: number;
}

export class XattrPlan {
  readonly #pairs = new Map<string, XattrPair>();
  readonly #lists = new Map<readonly Xattr[], XattrList>();
  readonly #shared: XattrPair[] = [];
  #sharedBytes = 0;

  /** Bytes of the shared area. */
  get sharedBytes(): number {
    return this.#sharedBytes;
  }

  get isEmpty(): boolean {
    return this.#lists.size === 0;
  }

  /** Counts the xattrs of one inode; `path` is asked only for messages. */
  add(xattrs: readonly Xattr[], path: () => string): void {
    if (xattrs.length === 0) return;
    let list = this.#lists.get(xattrs);
    if (list === undefined) {
      list = { pairs: xattrs.map((xattr) => this.#pairOf(xattr, path)), uses: 0, bodyBytes: 0 };
      this.#lists.set(xattrs, list);
    }
    list.uses++;
  }

  /** Decides what is shared. All inodes were added; bodies can be asked for from here on. */
  settle(pathOfList: (xattrs: readonly Xattr[]) => string): void {
    for (const { pairs, uses } of this.#lists.values()) {
      for (const pair of pairs) pair.uses += uses;
    }
    for (const pair of this.#pairs.values()) {
      const inlineBytes = pair.uses * pair.entryBytes;
      if (inlineBytes <= pair.entryBytes + pair.uses * xattrUnitBytes) continue;
      pair.sharedId = this.#sharedBytes / xattrUnitBytes;
      this.#sharedBytes += pair.entryBytes;
      this.#shared.push(pair);
    }
    for (const [xattrs, list] of this.#lists) {
      list.bodyBytes = bodyBytesOf(splitPairs(list.pairs));
      if (list.bodyBytes <= bodyBytesMax) continue;
      throw unstorable(pathOfList(xattrs), `xattrs of more than ${bodyBytesMax} bytes`);
    }
  }

  /** Bytes between the inode and its content. */
  bodyBytes(xattrs: readonly Xattr[]): number {
    return xattrs.length === 0 ? 0 : this.#lists.get(xattrs)!.bodyBytes;
  }

  encodeBody(xattrs: readonly Xattr[]): Buffer {
    const { pairs, bodyBytes } = this.#lists.get(xattrs)!;
    const { shared, inline } = splitPairs(pairs);
    const body = Buffer.alloc(bodyBytes);
    body.writeUInt32LE(xattrNameFilter(pairs.map(({ name }) => name)), xattrHeaderField.nameFilter);
    body.writeUInt8(shared.length, xattrHeaderField.sharedCount);
    let at = xattrHeaderSizeBytes;
    for (const { sharedId } of shared) at = body.writeUInt32LE(sharedId!, at);
    for (const { name, value } of inline) at = writeXattrEntry(body, at, name, value);
    return body;
  }

  /** The entries of the shared area, in its order. */
  *sharedEntries(): Generator<Buffer> {
    for (const { name, value, entryBytes } of this.#shared) {
      const entry = Buffer.alloc(entryBytes);
      writeXattrEntry(entry, 0, name, value);
      yield entry;
    }
  }

  #pairOf({ name, value }: Xattr, path: () => string): XattrPair {
    const key = `${name}\0${byteString(value)}`;
    const known = this.#pairs.get(key);
    if (known !== undefined) return known;
    const split = checkXattr(name, value, path);
    const entryBytes = xattrEntryTotalBytes(split.suffix.length, value.length);
    const pair = { name: split, value, entryBytes, uses: 0, sharedId: undefined };
    this.#pairs.set(key, pair);
    return pair;
  }
}

interface SplitPairs {
  readonly shared: readonly XattrPair[];
  readonly inline: readonly XattrPair[];
}

function splitPairs(pairs: readonly XattrPair[]): SplitPairs {
  const shared: XattrPair[] = [];
  const inline: XattrPair[] = [];
  for (const pair of pairs) {
    const canShare = pair.sharedId !== undefined && shared.length < sharedPerInodeMax;
    (canShare ? shared : inline).push(pair);
  }
  return { shared, inline };
}

function bodyBytesOf({ shared, inline }: SplitPairs): number {
  const inlineBytes = inline.reduce((sum, { entryBytes }) => sum + entryBytes, 0);
  return xattrHeaderSizeBytes + shared.length * xattrUnitBytes + inlineBytes;
}

function checkXattr(name: ByteString, value: Uint8Array, path: () => string): SplitXattrName {
  const split = splitXattrName(name);
  const quoted = `xattr "${displayName(name)}"`;
  if (split === undefined) throw unstorable(path(), `${quoted} has a prefix unknown to EROFS`);
  const isBare = split.suffix.length === 0 && name.endsWith(".");
  if (isBare || name.length > xattrNameBytesMax || name.includes("\0")) {
    throw new AppError("invalid_argument", `Cannot plan image: "${path()}": ${quoted} is no name`);
  }
  if (value.length > valueBytesMax) {
    throw unstorable(path(), `${quoted} has more than ${valueBytesMax} bytes`);
  }
  return split;
}

/** XATTR_NAME_MAX of include/uapi/linux/limits.h. */
const xattrNameBytesMax = 255;

function unstorable(path: string, problem: string): AppError {
  return new AppError("unimplemented", `Cannot store "${path}" in EROFS: ${problem}`);
}

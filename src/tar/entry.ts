/**
 * An entry of an archive as it is meant: header, long names and PAX records together.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { bytesOf, displayName, type ByteString } from "../util/byte-string.ts";
import { typeFlag } from "./format.ts";
import type { Header } from "./header.ts";
import { parseDecimal } from "./numbers.ts";
import { parsePaxTime, paxKey, xattrKeyPrefix, type PaxRecords } from "./pax.ts";

export type EntryType =
  | "file"
  | "hard link"
  | "symlink"
  | "character device"
  | "block device"
  | "directory"
  | "fifo"
  /** Global PAX records, which stand in the archive under a name of their own. */
  | "global records"
  /** Anything else, such as a volume label. */
  | "other";

export interface TarXattr {
  readonly name: ByteString;
  readonly value: Uint8Array;
}

export interface TarEntry {
  readonly type: EntryType;
  /** The character the header has for the type. */
  readonly flag: string;
  /** Where the header lies in the stream. */
  readonly offset: number;
  /** As it stands in the archive: it may be absolute, or hold `.` and `..`. */
  readonly name: ByteString;
  /** Of hard links and symlinks. */
  readonly linkName: ByteString;
  /** Of files: with holes. */
  readonly sizeBytes: number;
  /** As in the header: any number, of which the lower twelve bits are permissions. */
  readonly mode: number;
  /** Any number; a user ID is its lower 32 bits. */
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly xattrs: readonly TarXattr[];
}

export interface LongNames {
  readonly name: ByteString;
  readonly linkName: ByteString;
}

const typesByFlag: Readonly<Record<string, EntryType>> = {
  [typeFlag.old]: "file",
  [typeFlag.regular]: "file",
  [typeFlag.gnuSparse]: "file",
  [typeFlag.hardLink]: "hard link",
  [typeFlag.symlink]: "symlink",
  [typeFlag.characterDevice]: "character device",
  [typeFlag.blockDevice]: "block device",
  [typeFlag.directory]: "directory",
  [typeFlag.fifo]: "fifo",
  [typeFlag.paxGlobal]: "global records",
};

/** Types without content, whatever size their header has. */
export function hasContent(flag: string): boolean {
  return flag < typeFlag.hardLink || flag > typeFlag.fifo;
}

const noXattrs: readonly TarXattr[] = [];

/** Throws FormatError for records that are no numbers where they should be. */
export function makeEntry(header: Header, records: PaxRecords, long: LongNames): TarEntry {
  const number = (key: ByteString, otherwise: number): number => {
    const text = records.get(key) ?? "";
    if (text === "") return otherwise;
    const value = parseDecimal(text);
    if (value === undefined) throw recordError(header, key);
    return value;
  };
  const name = long.name || records.get(paxKey.path) || header.name;
  const isDirectory = header.flag === typeFlag.old && name.endsWith("/");
  return {
    type: isDirectory ? "directory" : (typesByFlag[header.flag] ?? "other"),
    flag: header.flag,
    offset: header.offset,
    name,
    linkName: long.linkName || records.get(paxKey.linkPath) || header.linkName,
    sizeBytes: number(paxKey.size, header.sizeBytes),
    mode: header.mode,
    uid: number(paxKey.uid, header.uid),
    gid: number(paxKey.gid, header.gid),
    ...mtimeOf(header, records),
    deviceMajor: header.deviceMajor,
    deviceMinor: header.deviceMinor,
    xattrs: records.size === 0 ? noXattrs : xattrsOf(records),
  };
}

function recordError(header: Header, key: ByteString): FormatError {
  return new FormatError("PAX records", header.offset, `"${displayName(key)}" is no number`);
}

function mtimeOf(header: Header, records: PaxRecords) {
  const text = records.get(paxKey.mtime) ?? "";
  if (text === "") return { mtimeSeconds: header.mtimeSeconds, mtimeNanoseconds: 0 };
  const time = parsePaxTime(text);
  if (time === undefined) throw recordError(header, paxKey.mtime);
  return { mtimeSeconds: time.seconds, mtimeNanoseconds: time.nanoseconds };
}

function xattrsOf(records: PaxRecords): readonly TarXattr[] {
  const xattrs: TarXattr[] = [];
  for (const [key, value] of records) {
    if (!key.startsWith(xattrKeyPrefix)) continue;
    const name = key.slice(xattrKeyPrefix.length) as ByteString;
    xattrs.push({ name, value: bytesOf(value) });
  }
  return xattrs.length === 0 ? noXattrs : xattrs;
}

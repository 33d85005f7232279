/**
 * Writes tar headers: ustar, with PAX records for all that ustar has no room for.
 *
 * Everything that varies comes as records, and always in full: names beyond ASCII, times with nine
 * digits of nanoseconds, extended attributes byte for byte.
 *
 * @module
 */
import { alignUp } from "../util/bytes.ts";
import { byteStringOfText, bytesOf, type ByteString } from "../util/byte-string.ts";
import { blockBytes, nameFieldBytes, typeFlag, ustarField, ustarMagic } from "./format.ts";
import { paxKey, xattrKeyPrefix } from "./pax.ts";
import type { TarXattr } from "./entry.ts";

export interface WrittenEntry {
  readonly flag: (typeof typeFlag)[keyof typeof typeFlag];
  readonly name: ByteString;
  readonly linkName?: ByteString;
  readonly sizeBytes?: number;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Whole seconds since 1970, rounded down. */
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly deviceMajor?: number;
  readonly deviceMinor?: number;
  readonly xattrs: readonly TarXattr[];
}

/** Two blocks of zeros end an archive. */
export const archiveEnd: Uint8Array = new Uint8Array(2 * blockBytes);

const octalDigitsShort = 7;
const octalDigitsLong = 11;
const shortNumberMax = 0o7777777;
const longNumberMax = 0o77777777777;
const recordsName = byteStringOfText("PaxHeaders/entry");

/** How many bytes of zeros follow content of this length. */
export function contentPadding(sizeBytes: number): number {
  return alignUp(sizeBytes, blockBytes) - sizeBytes;
}

/** The header of an entry with the records before it; content and its padding come next. */
export function entryHeader(entry: WrittenEntry): Buffer {
  const records = Buffer.concat(recordsOf(entry));
  if (records.length === 0) return ustarHeader(entry);
  const header = ustarHeader({
    flag: typeFlag.paxLocal,
    name: recordsName,
    sizeBytes: records.length,
    mode: 0o600,
    uid: 0,
    gid: 0,
    mtimeSeconds: 0,
    mtimeNanoseconds: 0,
    xattrs: [],
  });
  const padding = Buffer.alloc(contentPadding(records.length));
  return Buffer.concat([header, records, padding, ustarHeader(entry)]);
}

function recordsOf(entry: WrittenEntry): Buffer[] {
  const { name, linkName, sizeBytes = 0, uid, gid, xattrs } = entry;
  const records: Buffer[] = [];
  const add = (key: ByteString, value: Uint8Array) => records.push(record(key, value));
  if (needsRecord(name)) add(paxKey.path, bytesOf(name));
  if (linkName !== undefined && needsRecord(linkName)) add(paxKey.linkPath, bytesOf(linkName));
  if (sizeBytes > longNumberMax) add(paxKey.size, Buffer.from(`${sizeBytes}`));
  if (uid > shortNumberMax) add(paxKey.uid, Buffer.from(`${uid}`));
  if (gid > shortNumberMax) add(paxKey.gid, Buffer.from(`${gid}`));
  const time = timeRecord(entry);
  if (time !== undefined) add(paxKey.mtime, Buffer.from(time));
  for (const xattr of xattrs) {
    add(`${xattrKeyPrefix}${xattr.name}` as ByteString, xattr.value);
  }
  return records;
}

function needsRecord(name: ByteString): boolean {
  return name.length > nameFieldBytes || /[^\x20-\x7e]/.test(name);
}

/** Undefined where the header holds all of it. The sign is that of the whole number. */
function timeRecord({ mtimeSeconds, mtimeNanoseconds }: WrittenEntry): string | undefined {
  const isNegative = mtimeSeconds < 0;
  if (!isNegative && mtimeNanoseconds === 0 && mtimeSeconds <= longNumberMax) return undefined;
  const borrows = isNegative && mtimeNanoseconds > 0;
  const seconds = borrows ? -(mtimeSeconds + 1) : Math.abs(mtimeSeconds);
  const nanoseconds = borrows ? 1_000_000_000 - mtimeNanoseconds : mtimeNanoseconds;
  const fraction = nanoseconds === 0 ? "" : `.${String(nanoseconds).padStart(9, "0")}`;
  return `${isNegative ? "-" : ""}${seconds}${fraction}`;
}

/** `"<length> <key>=<value>\n"`, where the length counts its own digits. */
function record(key: ByteString, value: Uint8Array): Buffer {
  const body = Buffer.concat([bytesOf(` ${key}=` as ByteString), value, Buffer.from("\n")]);
  let length = body.length;
  while (body.length + String(length).length !== length) {
    length = body.length + String(length).length;
  }
  return Buffer.concat([Buffer.from(`${length}`), body]);
}

function ustarHeader(entry: WrittenEntry): Buffer {
  const { deviceMajor = 0, deviceMinor = 0, linkName = "", sizeBytes = 0 } = entry;
  const block = Buffer.alloc(blockBytes);
  const put = (offset: number, text: string) => block.write(text, offset, "latin1");
  put(ustarField.name, entry.name.slice(0, nameFieldBytes));
  put(ustarField.mode, octal(entry.mode, octalDigitsShort));
  put(ustarField.uid, octal(Math.min(entry.uid, shortNumberMax), octalDigitsShort));
  put(ustarField.gid, octal(Math.min(entry.gid, shortNumberMax), octalDigitsShort));
  put(ustarField.size, octal(Math.min(sizeBytes, longNumberMax), octalDigitsLong));
  const seconds = Math.min(Math.max(entry.mtimeSeconds, 0), longNumberMax);
  put(ustarField.mtime, octal(seconds, octalDigitsLong));
  put(ustarField.checksum, " ".repeat(8));
  put(ustarField.typeFlag, entry.flag);
  put(ustarField.linkName, linkName.slice(0, nameFieldBytes));
  put(ustarField.magic, `${ustarMagic}00`);
  put(ustarField.deviceMajor, octal(deviceMajor, octalDigitsShort));
  put(ustarField.deviceMinor, octal(deviceMinor, octalDigitsShort));
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(ustarField.checksum, `${octal(sum, 6)}\0 `);
  return block;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

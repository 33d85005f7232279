/**
 * PAX records: `"<length> <key>=<value>\n"`, the length in decimal and counting the whole record.
 *
 * Values are bytes, whatever the archive says of their encoding: file names and extended attributes
 * are bytes on Linux.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { byteStringOfText, type ByteString } from "../util/byte-string.ts";
import { parseDecimal } from "./numbers.ts";

export type PaxRecords = ReadonlyMap<ByteString, ByteString>;

export const paxKey = {
  path: byteStringOfText("path"),
  linkPath: byteStringOfText("linkpath"),
  userName: byteStringOfText("uname"),
  groupName: byteStringOfText("gname"),
  size: byteStringOfText("size"),
  uid: byteStringOfText("uid"),
  gid: byteStringOfText("gid"),
  mtime: byteStringOfText("mtime"),
  sparseMajor: byteStringOfText("GNU.sparse.major"),
  sparseMinor: byteStringOfText("GNU.sparse.minor"),
  sparseName: byteStringOfText("GNU.sparse.name"),
  sparseSize: byteStringOfText("GNU.sparse.size"),
  sparseRealSize: byteStringOfText("GNU.sparse.realsize"),
  sparseCount: byteStringOfText("GNU.sparse.numblocks"),
  sparseMap: byteStringOfText("GNU.sparse.map"),
  sparseOffset: byteStringOfText("GNU.sparse.offset"),
  sparseLength: byteStringOfText("GNU.sparse.numbytes"),
} as const;

/** What the key of an extended attribute begins with; the rest is its name. */
export const xattrKeyPrefix = "SCHILY.xattr.";

/** Keys whose value is a C string. */
const nulFreeKeys: ReadonlySet<string> = new Set([
  paxKey.path,
  paxKey.linkPath,
  paxKey.userName,
  paxKey.groupName,
]);

const space = 0x20;
const equalsSign = 0x3d;
const lineEnd = 0x0a;
/** The shortest record is `5 a=\n`. */
const recordBytesMin = 5;
const lengthDigitsMax = 8;

function recordError(offset: number, problem: string): FormatError {
  return new FormatError("PAX record", offset, problem);
}

/**
 * The records of one extended header. The last of equal keys counts; the pairs of sparse format
 * 0.0, the only keys that repeat by design, become the map of 0.1.
 *
 * @param offset where the bytes lie in the stream
 */
export function parsePaxRecords(bytes: Buffer, offset: number): Map<ByteString, ByteString> {
  const records = new Map<ByteString, ByteString>();
  const sparse: ByteString[] = [];
  for (let at = 0; at < bytes.length;) {
    const bodyStart = bytes.indexOf(space, at) + 1;
    const end = at + recordLength(bytes, at, bodyStart - 1, offset);
    const equals = bytes.indexOf(equalsSign, bodyStart);
    if (equals < bodyStart || equals >= end || bytes[end - 1] !== lineEnd) {
      throw recordError(offset + at, 'not of the form "length key=value"');
    }
    const key = bytes.toString("latin1", bodyStart, equals) as ByteString;
    const value = bytes.toString("latin1", equals + 1, end - 1) as ByteString;
    const hasNul = nulFreeKeys.has(key) ? value.includes("\0") : key.includes("\0");
    if (key === "" || hasNul) throw recordError(offset + at, "an empty key or a NUL byte");
    if (key === paxKey.sparseOffset || key === paxKey.sparseLength) {
      const expected = sparse.length % 2 === 0 ? paxKey.sparseOffset : paxKey.sparseLength;
      if (key !== expected || value.includes(",")) throw recordError(offset + at, "sparse map");
      sparse.push(value);
    } else {
      records.set(key, value);
    }
    at = end;
  }
  if (sparse.length > 0) records.set(paxKey.sparseMap, sparse.join(",") as ByteString);
  return records;
}

function recordLength(bytes: Buffer, at: number, lengthEnd: number, offset: number): number {
  const isNumber = lengthEnd > at && lengthEnd - at <= lengthDigitsMax;
  const length = isNumber ? parseDecimal(bytes.toString("latin1", at, lengthEnd)) : undefined;
  if (length === undefined || length < recordBytesMin || length > bytes.length - at) {
    throw recordError(offset + at, "a length that cannot be");
  }
  return length;
}

export interface PaxTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** `[-]<seconds>[.<fraction>]`, digits after the ninth cut off; undefined for anything else. */
export function parsePaxTime(text: string): PaxTime | undefined {
  const point = text.indexOf(".");
  const whole = point < 0 ? text : text.slice(0, point);
  const fraction = point < 0 ? "" : text.slice(point + 1);
  const seconds = parseDecimal(whole);
  if (seconds === undefined || !/^[0-9]*$/.test(fraction)) return undefined;
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, "0"));
  // The sign stands for the whole number: -1.25 is 0.75 after -2.
  if (!whole.startsWith("-") || nanoseconds === 0) return { seconds, nanoseconds };
  return { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

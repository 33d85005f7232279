/**
 * One header block, decoded: the fields as they stand there, before PAX records and long names.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import type { ByteString } from "../util/byte-string.ts";
import {
  blockBytes,
  gnuField,
  gnuMagic,
  longNumberBytes,
  nameFieldBytes,
  shortNumberBytes,
  starField,
  starPrefixBytes,
  starTrailer,
  ustarField,
  ustarMagic,
  ustarPrefixBytes,
} from "./format.ts";
import { readNumber, readOctal, readString } from "./numbers.ts";

export type Dialect = "v7" | "ustar" | "star" | "gnu";

export interface Header {
  readonly dialect: Dialect;
  /** Where the block lies in the stream. */
  readonly offset: number;
  readonly flag: string;
  readonly name: ByteString;
  readonly linkName: ByteString;
  readonly sizeBytes: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

export function headerError(offset: number, problem: string): FormatError {
  return new FormatError("tar header", offset, problem);
}

export function isZeroBlock(block: Buffer): boolean {
  for (let at = 0; at < blockBytes; at++) if (block[at] !== 0) return false;
  return true;
}

/** Throws FormatError for a wrong checksum and for numbers that are none. */
export function decodeHeader(block: Buffer, offset: number): Header {
  verifyChecksum(block, offset);
  const number = (at: number, sizeBytes: number): number => {
    const value = readNumber(block, at, sizeBytes);
    if (value === undefined) throw headerError(offset, `no number at byte ${at} of the header`);
    return value;
  };
  const dialect = dialectOf(block);
  const hasDevices = dialect !== "v7";
  const name = readString(block, ustarField.name, nameFieldBytes);
  const prefix = prefixOf(block, dialect);
  const flagByte = block[ustarField.typeFlag]!;
  return {
    dialect,
    offset,
    flag: String.fromCharCode(flagByte),
    name: (prefix === "" ? name : `${prefix}/${name}`) as ByteString,
    linkName: readString(block, ustarField.linkName, nameFieldBytes),
    sizeBytes: number(ustarField.size, longNumberBytes),
    mode: number(ustarField.mode, shortNumberBytes),
    uid: number(ustarField.uid, shortNumberBytes),
    gid: number(ustarField.gid, shortNumberBytes),
    mtimeSeconds: number(ustarField.mtime, longNumberBytes),
    deviceMajor: hasDevices ? number(ustarField.deviceMajor, shortNumberBytes) : 0,
    deviceMinor: hasDevices ? number(ustarField.deviceMinor, shortNumberBytes) : 0,
  };
}

/** The sum of all bytes, the field itself as blanks; Sun's tar summed signed bytes. */
function verifyChecksum(block: Buffer, offset: number): void {
  let unsigned = 0;
  let high = 0;
  for (let at = 0; at < blockBytes; at++) {
    const byte = block[at]!;
    unsigned += byte;
    high += byte >> 7;
  }
  for (let at = 0; at < shortNumberBytes; at++) {
    const byte = block[ustarField.checksum + at]!;
    unsigned += 0x20 - byte;
    high -= byte >> 7;
  }
  const expected = readOctal(block, ustarField.checksum, shortNumberBytes);
  if (expected === unsigned || expected === unsigned - 256 * high) return;
  throw headerError(
    offset,
    `checksum ${expected ?? "unreadable"}, the block adds up to ${unsigned}`,
  );
}

function dialectOf(block: Buffer): Dialect {
  const magic = block.toString("latin1", ustarField.magic, ustarField.magic + gnuMagic.length);
  if (magic === gnuMagic) return "gnu";
  if (!magic.startsWith(ustarMagic)) return "v7";
  const trailer = block.toString(
    "latin1",
    starField.trailer,
    starField.trailer + starTrailer.length,
  );
  return trailer === starTrailer ? "star" : "ustar";
}

/** What goes before the name, with a slash between. */
function prefixOf(block: Buffer, dialect: Dialect): ByteString {
  switch (dialect) {
    case "ustar":
      return readString(block, ustarField.prefix, ustarPrefixBytes);
    case "star":
      return readString(block, starField.prefix, starPrefixBytes);
    case "gnu":
      return misplacedPrefix(block);
    default:
      return "" as ByteString;
  }
}

/**
 * Go before 1.8 wrote GNU headers with a prefix where GNU has times (golang.org/issue/12594). Such
 * layers are still pulled, so, as Go does, what is no number there is taken for a prefix.
 */
function misplacedPrefix(block: Buffer): ByteString {
  const isTime = (at: number) =>
    block[at] === 0 || readNumber(block, at, longNumberBytes) !== undefined;
  if (isTime(gnuField.accessTime) && isTime(gnuField.changeTime)) return "" as ByteString;
  const prefix = readString(block, ustarField.prefix, ustarPrefixBytes);
  const isAscii = Buffer.byteLength(prefix, "utf8") === prefix.length;
  return isAscii ? prefix : ("" as ByteString);
}

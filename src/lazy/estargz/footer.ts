/**
 * The end of an eStargz blob: an empty gzip member whose extra field says where the table of
 * contents begins (docs/estargz.md, "Footer"; gzip: RFC 1952).
 *
 * ```
 * 1f 8b 08 04, 4 bytes of time, level, system | XLEN | extra field | 01 00 00 ff ff | crc, size: 0
 * eStargz, 51 bytes:      extra field = "SG", 22, 16 hexadecimal digits, "STARGZ"
 * stargz, 47 bytes:       extra field = 16 hexadecimal digits, "STARGZ"
 * table elsewhere, 46:    extra field = "SG", 17, "STARGZEXTERNALTOC"
 * ```
 *
 * @module
 */
import { FormatError } from "../../errors.ts";
import type { BlobRange } from "../model.ts";

const headerBytes = 10;
const lengthBytes = 2;
const offsetDigits = 16;
const mark = "STARGZ";
const externalMark = "STARGZEXTERNALTOC";
const subfieldId = Buffer.from("SG");
const gzipStart = Buffer.from([0x1f, 0x8b, 8, 4]);
/** An empty last block that is stored, then a check sum and a size of 0. */
const emptyContent = Buffer.from([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);

export const estargzFooterBytes = 51;
const legacyFooterBytes = 47;
const externalFooterBytes = 46;

export interface EstargzFooter {
  /** The table and all that follows it but the footer. */
  readonly toc: BlobRange;
}

/**
 * Undefined for a blob that is no eStargz.
 *
 * @param tail the last bytes of the blob, `estargzFooterBytes` where it has as many
 * @throws FormatError for a footer that leads out of the blob, and where the table is in a blob of
 * its own, which is not supported
 */
export function parseEstargzFooter(tail: Uint8Array, blobBytes: number): EstargzFooter | undefined {
  const bytes = Buffer.from(tail.buffer, tail.byteOffset, tail.byteLength);
  const external = extraField(bytes, externalFooterBytes);
  if (external !== undefined && subfield(external)?.toString("latin1") === externalMark) {
    throw footerError(blobBytes - externalFooterBytes, "the table is in another blob");
  }
  const extra = extraField(bytes, estargzFooterBytes);
  const text = extra === undefined ? undefined : subfield(extra);
  if (text !== undefined) return footerOf(text, estargzFooterBytes, blobBytes);
  const legacy = extraField(bytes, legacyFooterBytes);
  return legacy === undefined ? undefined : footerOf(legacy, legacyFooterBytes, blobBytes);
}

/** The extra field of the member, if it is one of that size with nothing in it. */
function extraField(tail: Buffer, footerBytes: number): Buffer | undefined {
  if (tail.length < footerBytes) return undefined;
  const member = tail.subarray(tail.length - footerBytes);
  const start = headerBytes + lengthBytes;
  const end = footerBytes - emptyContent.length;
  if (!member.subarray(0, gzipStart.length).equals(gzipStart)) return undefined;
  if (member.readUInt16LE(headerBytes) !== end - start) return undefined;
  return member.subarray(end).equals(emptyContent) ? member.subarray(start, end) : undefined;
}

/** The content of the one subfield `SG` (RFC 1952, section 2.3.1.1). */
function subfield(extra: Buffer): Buffer | undefined {
  const start = subfieldId.length + lengthBytes;
  if (!extra.subarray(0, subfieldId.length).equals(subfieldId)) return undefined;
  return extra.readUInt16LE(subfieldId.length) === extra.length - start
    ? extra.subarray(start)
    : undefined;
}

function footerOf(text: Buffer, footerBytes: number, blobBytes: number): EstargzFooter | undefined {
  const match = /^([0-9a-fA-F]{16})STARGZ$/.exec(text.toString("latin1"));
  if (match === null) return undefined;
  const offsetBytes = Number.parseInt(match[1] ?? "", 16);
  const end = blobBytes - footerBytes;
  if (offsetBytes >= end) throw footerError(end, `the table is said to begin at ${offsetBytes}`);
  return { toc: { offsetBytes, lengthBytes: end - offsetBytes } };
}

function footerError(offset: number, problem: string): FormatError {
  return new FormatError("eStargz footer", offset, problem);
}

/** The footer for a table that begins at that byte of the blob. */
export function makeEstargzFooter(tocOffsetBytes: number): Buffer {
  const text = Buffer.from(tocOffsetBytes.toString(16).padStart(offsetDigits, "0") + mark);
  const lengths = Buffer.alloc(2 * lengthBytes);
  lengths.writeUInt16LE(subfieldId.length + lengthBytes + text.length);
  lengths.writeUInt16LE(text.length, lengthBytes);
  return Buffer.concat([
    gzipStart,
    // No time, no level, a system that is not known.
    Buffer.from([0, 0, 0, 0, 0, 0xff]),
    lengths.subarray(0, lengthBytes),
    subfieldId,
    lengths.subarray(lengthBytes),
    text,
    emptyContent,
  ]);
}

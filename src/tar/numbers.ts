/**
 * Numbers and strings of header fields.
 *
 * A number is octal digits between blanks and NULs, or, where the first bit of the field is set
 * ("base 256"), a two's complement number in big-endian order whose second bit is the sign.
 *
 * @module
 */
import type { ByteString } from "../util/byte-string.ts";

const space = 0x20;
const digitZero = 0x30;
const isBinary = 0x80;
const isNegative = 0x40;

/** The bytes up to the first NUL or the end of the field. */
export function readString(block: Buffer, offset: number, sizeBytes: number): ByteString {
  let end = offset;
  while (end < offset + sizeBytes && block[end] !== 0) end++;
  return block.toString("latin1", offset, end) as ByteString;
}

/** An empty field is 0; undefined for what is no number or none that is exact in a double. */
export function readNumber(block: Buffer, offset: number, sizeBytes: number): number | undefined {
  return (block[offset]! & isBinary) === 0
    ? readOctal(block, offset, sizeBytes)
    : readBinary(block, offset, sizeBytes);
}

/** Blanks and NULs around the digits count for nothing, and so does all behind a NUL. */
export function readOctal(block: Buffer, offset: number, sizeBytes: number): number | undefined {
  let at = offset;
  let end = offset + sizeBytes;
  while (at < end && isBlank(block[at]!)) at++;
  while (at < end && isBlank(block[end - 1]!)) end--;
  let value = 0;
  for (; at < end && block[at] !== 0; at++) {
    const digit = block[at]! - digitZero;
    if (digit < 0 || digit > 7) return undefined;
    value = value * 8 + digit;
  }
  return value;
}

function isBlank(byte: number): boolean {
  return byte === space || byte === 0;
}

function readBinary(block: Buffer, offset: number, sizeBytes: number): number | undefined {
  const negative = (block[offset]! & isNegative) !== 0;
  const mask = negative ? 0xff : 0;
  let value = (block[offset]! ^ mask) & ~isBinary;
  for (let at = offset + 1; at < offset + sizeBytes; at++) {
    value = value * 256 + (block[at]! ^ mask);
  }
  if (!Number.isSafeInteger(value)) return undefined;
  return negative ? -value - 1 : value;
}

/** Digits with an optional sign; undefined for anything else and what a double cannot hold. */
export function parseDecimal(text: string): number | undefined {
  if (!/^[+-]?[0-9]+$/.test(text)) return undefined;
  const value = Number(text);
  // Adding 0 makes "-0" the same as "0".
  return Number.isSafeInteger(value) ? value + 0 : undefined;
}

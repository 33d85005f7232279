/**
 * Byte strings: file names and xattr names as Linux knows them, any bytes but NUL.
 *
 * A name need not be UTF-8, and a layer of a million names must be sorted by bytes and kept in
 * little memory. A JavaScript string with one character (0 to 255) per byte does both: the engine
 * stores it one byte a character, `<` compares it bytewise, and it can be a Map key.
 *
 * @module
 */

export type ByteString = string & { readonly __brand: "ByteString" };

export function byteString(bytes: Uint8Array): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    "latin1",
  ) as ByteString;
}

const printableAscii = /^[ -~]*$/;

/** Whether text is its own UTF-8 and can be printed, as nearly all names are. */
export function isPrintableAscii(text: string): boolean {
  return printableAscii.test(text);
}

/** The bytes of text, encoded as UTF-8. */
export function byteStringOfText(text: string): ByteString {
  if (isPrintableAscii(text)) return text as ByteString;
  return byteString(Buffer.from(text, "utf8"));
}

export function bytesOf(name: ByteString): Buffer {
  return Buffer.from(name, "latin1");
}

/** For messages and JSON: UTF-8 where the bytes are that, U+FFFD elsewhere. */
export function displayName(name: ByteString): string {
  return bytesOf(name).toString("utf8");
}

/** Bytewise order, as EROFS directories and `LC_ALL=C sort` have it. */
export function compareByteStrings(left: ByteString, right: ByteString): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

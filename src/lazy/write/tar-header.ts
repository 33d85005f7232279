/**
 * Headers of the few files that we add to a tar: regular, small, root's, of no time.
 *
 * @module
 */
import {
  blockBytes,
  longNumberBytes,
  nameFieldBytes,
  shortNumberBytes,
  typeFlag,
  ustarField,
  ustarMagic,
} from "../../tar/format.ts";
import { assert } from "../../util/assert.ts";
import type { ByteString } from "../../util/byte-string.ts";
import { alignUp } from "../../util/bytes.ts";

/** 8 GiB; larger sizes are written in base 256, as GNU tar and Go do. */
const octalSizeMax = 8 ** (longNumberBytes - 1) - 1;

function putBinary(block: Buffer, at: number, value: number): void {
  block[at] = 0x80;
  block.writeBigUInt64BE(BigInt(value), at + longNumberBytes - 8);
}

/** Octal digits that fill a field but for its NUL. */
function octal(value: number, fieldBytes: number): string {
  return value.toString(8).padStart(fieldBytes - 1, "0");
}

/** The header of a regular file; readable for all, or as `mode` says. */
export function fileHeader(name: ByteString, sizeBytes: number, mode = 0o644): Buffer {
  assert(name.length <= nameFieldBytes, "a name fits into its field");
  const block = Buffer.alloc(blockBytes);
  const put = (at: number, text: string) => block.write(text, at, "latin1");
  put(ustarField.name, name);
  put(ustarField.mode, octal(mode, shortNumberBytes));
  put(ustarField.uid, octal(0, shortNumberBytes));
  put(ustarField.gid, octal(0, shortNumberBytes));
  if (sizeBytes <= octalSizeMax) put(ustarField.size, octal(sizeBytes, longNumberBytes));
  else putBinary(block, ustarField.size, sizeBytes);
  put(ustarField.mtime, octal(0, longNumberBytes));
  put(ustarField.typeFlag, typeFlag.regular);
  put(ustarField.magic, `${ustarMagic}00`);
  put(ustarField.deviceMajor, octal(0, shortNumberBytes));
  put(ustarField.deviceMinor, octal(0, shortNumberBytes));
  put(ustarField.checksum, " ".repeat(shortNumberBytes));
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(ustarField.checksum, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

/** Zeros up to the next block. */
export function paddingOf(sizeBytes: number): Buffer {
  return Buffer.alloc(alignUp(sizeBytes, blockBytes) - sizeBytes);
}

/** Two blocks of zeros. */
export const tarEnd = Buffer.alloc(2 * blockBytes);

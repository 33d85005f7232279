/**
 * The entries of a directory, with names as bytes: getdents64(2).
 *
 * @module
 */
import { assert } from "../src/util/assert.ts";
import { type ByteString, byteString } from "../src/util/byte-string.ts";
import { check } from "./errno.ts";
import { libc } from "./libc.ts";
import { zeroed } from "./memory.ts";
import { struct } from "./struct.ts";

export interface DirectoryEntry {
  readonly name: ByteString;
  /** The type bits of `st_mode`; 0 where the file system does not tell. */
  readonly type: number;
}

/** The fixed part of `struct linux_dirent64`, include/linux/dirent.h; name and NUL follow. */
const direntHead = struct(19, [
  ["inode", "u64"],
  ["offset", "s64"],
  ["recordBytes", "u16"],
  ["type", "u8"],
]);

/** `d_type` is the type nibble of `st_mode` (include/linux/fs_types.h). */
const typeShift = 12;

// One buffer per thread; 64 KiB hold some two thousand entries a call.
const buffer = zeroed(64 * 1024);
const view = new DataView(buffer.buffer);
const at = direntHead.offsets;

/**
 * The entries of a directory without `.` and `..`, in no order. `fd` must be freshly opened:
 * entries are read from its position on.
 */
export function readDirectory(fd: number): DirectoryEntry[] {
  const entries: DirectoryEntry[] = [];
  for (;;) {
    const result = libc().getdents64(fd, buffer, buffer.length);
    const filled = check(result, "getdents64", `fd ${fd}`);
    if (filled === 0) return entries;
    decodeEntries(filled, entries);
  }
}

function decodeEntries(filledBytes: number, entries: DirectoryEntry[]): void {
  let offset = 0;
  while (offset < filledBytes) {
    const recordBytes = view.getUint16(offset + at.recordBytes, true);
    const nameStart = offset + direntHead.sizeBytes;
    const nameEnd = buffer.indexOf(0, nameStart);
    const next = offset + recordBytes;
    assert(nameEnd >= nameStart && nameEnd < next && next <= filledBytes, "a broken dirent64");
    const name = byteString(buffer.subarray(nameStart, nameEnd));
    if (name !== "." && name !== "..")
      entries.push({ name, type: buffer.readUInt8(offset + at.type) << typeShift });
    offset = next;
  }
}

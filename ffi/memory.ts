/**
 * Memory for the kernel: zeroed buffers, and strings that end with NUL.
 *
 * Every buffer is a view on an `ArrayBuffer` of its own, because the engine may move the content of
 * small typed arrays that own their memory.
 *
 * @module
 */
import { assert } from "../src/util/assert.ts";
import type { ByteString } from "../src/util/byte-string.ts";
import { memoryAdvice, pathBytesMax } from "./constants.ts";
import { check } from "./errno.ts";
import { libc } from "./libc.ts";

export function zeroed(sizeBytes: number): Buffer {
  return Buffer.from(new ArrayBuffer(sizeBytes));
}

/** A path in UTF-8 with its NUL. Throws `AssertionError` for a NUL inside or a path too long. */
export function cPath(path: string): Buffer {
  return terminated(Buffer.from(path, "utf8"), path);
}

/** A byte string with its NUL; the same conditions. */
export function cBytes(text: ByteString): Buffer {
  return terminated(Buffer.from(text, "latin1"), text);
}

function terminated(bytes: Buffer, text: string): Buffer {
  assert(!text.includes("\0"), "a path holds a NUL");
  assert(bytes.length < pathBytesMax, `a path of ${bytes.length} bytes is longer than PATH_MAX`);
  const buffer = zeroed(bytes.length + 1);
  bytes.copy(buffer);
  return buffer;
}

const nameScratch = zeroed(pathBytesMax);

/**
 * A single path component with its NUL, in a buffer that the next call overwrites: for the calls
 * that are made a million times. Refuses `..`, the empty name and anything with a slash, so that
 * no name leads out of the directory it is looked up in.
 */
export function scratchName(name: ByteString): Buffer {
  const isComponent = name.length > 0 && name.length < pathBytesMax && name !== "..";
  assert(isComponent && !name.includes("/") && !name.includes("\0"), "not a file name");
  nameScratch[nameScratch.write(name, 0, "latin1")] = 0;
  return nameScratch;
}

/**
 * Takes the pages of a mapped file from this process; they stay in the page cache, and come back
 * when they are looked at.
 *
 * @param mapped all that `Bun.mmap` returned, shared: anything else would lose its content
 */
export function releasePages(mapped: Uint8Array): void {
  const result = libc().madvise(mapped, mapped.byteLength, memoryAdvice.dontNeed);
  check(result, "madvise", `${mapped.byteLength} bytes`);
}

/**
 * Reading and writing at offsets without keeping the event loop waiting. (Those of node:fs/promises
 * want a FileHandle, which closes its descriptor when it is collected.)
 *
 * @module
 */
import { fdatasync, read, write } from "node:fs";
import { promisify } from "node:util";

/** Fewer bytes than asked for only at the end of the file. */
export async function readFully(file: number, into: Uint8Array, offsetBytes: number) {
  let at = 0;
  while (at < into.length) {
    const count = await readAt(file, into, at, offsetBytes + at);
    if (count === 0) break;
    at += count;
  }
  return into.subarray(0, at);
}

export async function writeFully(file: number, bytes: Uint8Array, offsetBytes: number) {
  for (let at = 0; at < bytes.length;) at += await writeAt(file, bytes, at, offsetBytes + at);
}

/** Content is on the disk when it resolves. */
export const syncData: (file: number) => Promise<void> = promisify(fdatasync);

function readAt(file: number, into: Uint8Array, at: number, offsetBytes: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(file, into, at, into.length - at, offsetBytes, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

function writeAt(file: number, bytes: Uint8Array, at: number, offsetBytes: number) {
  return new Promise<number>((resolve, reject) => {
    write(file, bytes, at, bytes.length - at, offsetBytes, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

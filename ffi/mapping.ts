/**
 * Files mapped for all threads of the process: mmap(2), with an end that the owner decides, where
 * `Bun.mmap` leaves it to the garbage collector of each thread.
 *
 * @module
 */
import { toArrayBuffer } from "bun:ffi";
import { assert } from "../src/util/assert.ts";
import { mapFlag, openFlag } from "./constants.ts";
import { check, lastErrno, SyscallError } from "./errno.ts";
import { close, open } from "./file.ts";
import { libc } from "./libc.ts";
import { statOf } from "./status.ts";

/** Plain numbers, which threads may share; valid until `unmapFile`. */
export interface FileMapping {
  readonly address: number;
  readonly lengthBytes: number;
}

/** Maps a whole file, which is not empty, for reading; later writes to it are seen. */
export function mapFile(path: string): FileMapping {
  const fd = open(path, openFlag.readOnly);
  try {
    const { sizeBytes } = statOf(fd);
    assert(sizeBytes > 0, `"${path}" is empty`);
    const address = libc().mmap(null, sizeBytes, mapFlag.read, mapFlag.shared, fd, 0);
    // MAP_FAILED is -1, which a pointer shows as 2^64 - 1; addresses end at 2^47.
    if (address === null || address >= 2 ** 52) throw new SyscallError("mmap", lastErrno(), path);
    return { address: Number(address), lengthBytes: sizeBytes };
  } finally {
    close(fd);
  }
}

/** The bytes; touching them after `unmapFile` ends the process. */
export function viewOf(mapping: FileMapping): Uint8Array {
  const { address, lengthBytes } = mapping;
  return new Uint8Array(toArrayBuffer(address, 0, lengthBytes));
}

export function unmapFile({ address, lengthBytes }: FileMapping): void {
  check(libc().munmap(address, lengthBytes), "munmap", `${lengthBytes} bytes`);
}

/**
 * The content of small files until the image is written: kept in memory while it is little, in a
 * file without a name when it is more. A layer of a million files of 500 bytes would take half a
 * gigabyte.
 *
 * @module
 */
import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { ByteStore } from "../erofs/inode-table.ts";
import { AppError } from "../errors.ts";
import { KiB, MiB } from "../util/bytes.ts";
import { storageError } from "./pack-writer.ts";

const bufferBytes = 4 * MiB;
/** Read at once: files come back in about the order they came in. */
const windowBytes = 16 * KiB;
/** Addresses have 32 bits. */
const spilledBytesMax = 2 ** 32 - bufferBytes;

export class SpilledBytes implements ByteStore, Disposable {
  readonly #folder: string;
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes);
  readonly #window = Buffer.allocUnsafeSlow(windowBytes);
  #file: number | undefined;
  /** In the file; what follows is in the buffer. */
  #spilledBytes = 0;
  #bufferedBytes = 0;
  #windowStart = 0;
  #windowEnd = 0;

  /** @param folder where the file would be, on a disk */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Throws AppError `resource_exhausted` for a full disk, `unimplemented` beyond 4 GiB. */
  add(bytes: Uint8Array): number {
    if (this.#bufferedBytes + bytes.length > bufferBytes) this.#spill();
    const address = this.#spilledBytes + this.#bufferedBytes;
    if (bytes.length > bufferBytes) {
      this.#write(bytes);
    } else {
      this.#buffer.set(bytes, this.#bufferedBytes);
      this.#bufferedBytes += bytes.length;
    }
    return address;
  }

  bytesAt(address: number, lengthBytes: number): Uint8Array {
    if (address >= this.#spilledBytes) {
      const start = address - this.#spilledBytes;
      return this.#buffer.subarray(start, start + lengthBytes);
    }
    if (lengthBytes > windowBytes) return this.#read(address, Buffer.alloc(lengthBytes));
    if (address < this.#windowStart || address + lengthBytes > this.#windowEnd) {
      const end = Math.min(address + windowBytes, this.#spilledBytes);
      this.#read(address, this.#window.subarray(0, end - address));
      this.#windowStart = address;
      this.#windowEnd = end;
    }
    const start = address - this.#windowStart;
    return this.#window.subarray(start, start + lengthBytes);
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #spill(): void {
    this.#write(this.#buffer.subarray(0, this.#bufferedBytes));
    this.#bufferedBytes = 0;
  }

  #write(bytes: Uint8Array): void {
    if (this.#spilledBytes + bytes.length > spilledBytesMax) {
      throw new AppError("unimplemented", "The layer has more than 4 GiB of small files");
    }
    try {
      this.#file ??= openNameless(this.#folder);
      for (let at = 0; at < bytes.length;) {
        at += writeSync(this.#file, bytes, at, bytes.length - at, this.#spilledBytes + at);
      }
    } catch (error) {
      throw storageError(`set content aside in "${this.#folder}"`, error);
    }
    this.#spilledBytes += bytes.length;
  }

  /** Fills the target. */
  #read(address: number, target: Buffer): Buffer {
    for (let at = 0; at < target.length;) {
      const count = readSync(this.#file ?? -1, target, at, target.length - at, address + at);
      if (count === 0) throw new AppError("internal", "Content that was set aside is gone");
      at += count;
    }
    return target;
  }
}

/** A crash leaves nothing: a file in use needs no name. */
function openNameless(folder: string): number {
  const path = join(folder, `new-${crypto.randomUUID()}`);
  const file = openSync(path, "wx+", 0o600);
  unlinkSync(path);
  return file;
}

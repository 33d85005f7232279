/**
 * Many short runs of bytes in few large buffers: a million small objects would cost their headers,
 * and garbage collections that look at each of them.
 *
 * @module
 */
import { AppError } from "../errors.ts";

/** 256 KiB. What is longer gets a slab of its own; the unused end of a slab is no memory yet. */
const slabBytesLog2 = 18;
const slabBytes = 2 ** slabBytesLog2;
/** 4 GiB. */
const slabsMax = 2 ** (32 - slabBytesLog2);
const empty = Buffer.alloc(0);

/** Where bytes lie: below 2³², so that it fits in a `Uint32Array`. */
export type SlabAddress = number;

export class ByteSlabs {
  /** A long one is followed by empty ones, so that the numbers of slabs tell addresses. */
  readonly #slabs: Buffer[] = [];
  #nextAddress = 0;
  #freeBytes = 0;

  /** Keeps a copy. Throws AppError `unimplemented` beyond 4 GiB. */
  add(bytes: Uint8Array): SlabAddress {
    const address = this.#claim(bytes.length);
    this.bytesAt(address, bytes.length).set(bytes);
    return address;
  }

  /** Keeps a byte string, one byte for each character; otherwise as `add`. */
  addString(text: string): SlabAddress {
    const address = this.#claim(text.length);
    this.#slabOf(address).write(text, address % slabBytes, "latin1");
    return address;
  }

  /** The bytes themselves, no copy. */
  bytesAt(address: SlabAddress, lengthBytes: number): Buffer {
    const start = address % slabBytes;
    return this.#slabOf(address).subarray(start, start + lengthBytes);
  }

  stringAt(address: SlabAddress, lengthBytes: number): string {
    const start = address % slabBytes;
    return this.#slabOf(address).toString("latin1", start, start + lengthBytes);
  }

  /** Whether the byte string lies there. */
  holdsString(address: SlabAddress, text: string): boolean {
    const slab = this.#slabOf(address);
    const start = address % slabBytes;
    for (let at = 0; at < text.length; at++) {
      if (slab[start + at] !== text.charCodeAt(at)) return false;
    }
    return true;
  }

  /** Of nothing, the address may be that of no slab. */
  #slabOf(address: SlabAddress): Buffer {
    return this.#slabs[address >>> slabBytesLog2] ?? empty;
  }

  #claim(lengthBytes: number): SlabAddress {
    if (lengthBytes > this.#freeBytes) this.#grow(lengthBytes);
    const address = this.#nextAddress;
    this.#nextAddress += lengthBytes;
    this.#freeBytes -= lengthBytes;
    return address;
  }

  #grow(lengthBytes: number): void {
    const count = Math.ceil(lengthBytes / slabBytes);
    if (this.#slabs.length + count > slabsMax) {
      throw new AppError("unimplemented", "More than 4 GiB of names and small content");
    }
    this.#nextAddress = this.#slabs.length * slabBytes;
    this.#freeBytes = Math.max(slabBytes, lengthBytes);
    this.#slabs.push(Buffer.allocUnsafeSlow(this.#freeBytes));
    for (let behind = 1; behind < count; behind++) this.#slabs.push(empty);
  }
}

/**
 * Tells quickly that a pack does not have a piece with some SHA-256: a Bloom filter of 16 bits for
 * each piece. Hundreds of packs are asked for every piece before it is fetched, and a search in
 * each of their maps would bring all of those into memory.
 *
 * @module
 */
import { assert } from "../util/assert.ts";

const bitsPerPiece = 16;
/** A stranger passes one time in 400: (1 - e^(-4/16))^4. A hash has its probes in itself. */
const probes = 4;

/** Where the SHA-256 are; no view or closure is made for each of millions. */
export interface Hashes {
  /** The word of a hash, from 0. */
  hashWordOf(index: number, word: number): number;
}

export class HashFilter {
  readonly #bits: Uint8Array;
  readonly #mask: number;

  /** @param count how many hashes there will be */
  constructor(count: number) {
    const bits = 2 ** Math.ceil(Math.log2(Math.max(8, count * bitsPerPiece)));
    assert(bits <= 2 ** 32, "a probe has 32 bits");
    this.#bits = new Uint8Array(bits / 8);
    this.#mask = bits - 1;
  }

  add(hashes: Hashes, index: number): void {
    for (let probe = 0; probe < probes; probe++) {
      const bit = (hashes.hashWordOf(index, probe) & this.#mask) >>> 0;
      this.#bits[bit >>> 3]! |= 1 << (bit & 7);
    }
  }

  /** False: it was never added. */
  mayHave(hashes: Hashes, index: number): boolean {
    for (let probe = 0; probe < probes; probe++) {
      const bit = (hashes.hashWordOf(index, probe) & this.#mask) >>> 0;
      if ((this.#bits[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
    }
    return true;
  }
}

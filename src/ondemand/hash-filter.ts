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

  add(sha256: Uint8Array): void {
    for (let probe = 0; probe < probes; probe++) {
      const bit = this.#bitOf(sha256, probe);
      this.#bits[bit >>> 3]! |= 1 << (bit & 7);
    }
  }

  /** False: it was never added. */
  mayHave(sha256: Uint8Array): boolean {
    for (let probe = 0; probe < probes; probe++) {
      const bit = this.#bitOf(sha256, probe);
      if ((this.#bits[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
    }
    return true;
  }

  #bitOf(sha256: Uint8Array, probe: number): number {
    const at = probe * 4;
    const word =
      sha256[at]! | (sha256[at + 1]! << 8) | (sha256[at + 2]! << 16) | (sha256[at + 3]! << 24);
    return (word & this.#mask) >>> 0;
  }
}

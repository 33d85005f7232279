/**
 * Finds the rows of columns by the hash of their key: open addressing with linear probing.
 *
 * A `Map` with a string for each key takes some hundred bytes a row, this at most 24. Whoever can
 * choose the keys must not be able to choose the hashes, or each look-up walks over all rows.
 *
 * @module
 */

const slotsMin = 2048;

export class HashIndex {
  /** For each slot the hash and the row plus 1; 0 is a free slot. */
  #slots = new Uint32Array(2 * slotsMin);
  #used = 0;

  /** The row with this hash that `isIt` accepts. */
  find(hash: number, isIt: (row: number) => boolean): number | undefined {
    const slots = this.#slots;
    const mask = slots.length / 2 - 1;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const row = slots[2 * at + 1]!;
      if (row === 0) return undefined;
      if (slots[2 * at] === hash && isIt(row - 1)) return row - 1;
    }
  }

  /** @param hash below 2³² */
  add(hash: number, row: number): void {
    if (3 * this.#used > this.#slots.length) this.#grow();
    put(this.#slots, hash, row + 1);
    this.#used += 1;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(2 * old.length);
    for (let at = 0; at < old.length; at += 2) {
      if (old[at + 1] !== 0) put(this.#slots, old[at]!, old[at + 1]!);
    }
    // Given back at once, not at a collection.
    old.buffer.transfer(0);
  }
}

function put(slots: Uint32Array, hash: number, value: number): void {
  const mask = slots.length / 2 - 1;
  let at = hash & mask;
  while (slots[2 * at + 1] !== 0) at = (at + 1) & mask;
  slots[2 * at] = hash;
  slots[2 * at + 1] = value;
}

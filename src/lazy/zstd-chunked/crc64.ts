/**
 * CRC-64/GO-ISO, by which tar-split knows the content of files (Go's hash/crc64 with `ISO`).
 *
 * The polynomial x^64 + x^4 + x^3 + x + 1 is sparse: 32 bits at a time are reduced by three shifts,
 * because what they become stays below x^64. (Reflected: the lowest bit is x^63.)
 *
 * @module
 */

export class Crc64 {
  #high = -1;
  #low = -1;

  update(bytes: Uint8Array): void {
    const words = bytes.length & ~3;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let high = this.#high;
    let low = this.#low;
    for (let at = 0; at < words; at += 4) {
      const word = low ^ view.getInt32(at, true);
      low = high ^ (word << 31) ^ (word << 29) ^ (word << 28);
      high = word ^ (word >>> 1) ^ (word >>> 3) ^ (word >>> 4);
    }
    for (let at = words; at < bytes.length; at++) {
      const byte = (low ^ bytes[at]!) & 0xff;
      low = (low >>> 8) | (high << 24);
      // The same for 8 bits: they stand for x^7 to 1, and reach x^11.
      const top = byte << 24;
      high = (high >>> 8) ^ top ^ (top >>> 1) ^ (top >>> 3) ^ (top >>> 4);
    }
    this.#high = high;
    this.#low = low;
  }

  /** Eight bytes in big-endian order, as Go's `Sum` gives them. */
  digest(): Buffer {
    const sum = Buffer.alloc(8);
    sum.writeInt32BE(~this.#high);
    sum.writeInt32BE(~this.#low, 4);
    return sum;
  }
}

/**
 * How much of the blob a chunk takes. Neither format says so for each chunk: a chunk ends at the
 * latest where the next one begins, and the last one at the table of contents.
 *
 * @module
 */
import { KiB } from "../util/bytes.ts";

/** A range of a piece has 32 bits (ondemand/piece-map.ts). */
const rangeBytesMax = 2 ** 32 - 1;

/** More than any encoder makes of content it cannot compress. */
function compressedBytesMax(sizeBytes: number): number {
  return Math.min(rangeBytesMax, 2 * sizeBytes + 64 * KiB);
}

export class ChunkRanges {
  readonly #offsets: Float64Array;
  readonly #endBytes: number;

  /**
   * @param offsets where chunks begin, in any order
   * @param endBytes where the table begins; offsets lie before it
   */
  constructor(offsets: readonly number[], endBytes: number) {
    this.#offsets = Float64Array.from(offsets).sort();
    this.#endBytes = endBytes;
  }

  /**
   * @param sizeBytes of what has to be decompressed
   * @param endBytes where the table says the file ends in the blob; 0 where it says nothing
   */
  compressedBytes(offset: number, sizeBytes: number, endBytes: number): number {
    const next = Math.min(this.#after(offset), endBytes > offset ? endBytes : this.#endBytes);
    return Math.min(next - offset, compressedBytesMax(sizeBytes));
  }

  /** The first offset beyond the given one. */
  #after(offset: number): number {
    let low = 0;
    let high = this.#offsets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#offsets[middle]! > offset) high = middle;
      else low = middle + 1;
    }
    return this.#offsets[low] ?? this.#endBytes;
  }
}

/**
 * The bytes of an image for its reader: checked against the image's end, read in large pieces.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { defined } from "../util/assert.ts";
import { KiB } from "../util/bytes.ts";

/** Returns the bytes of the image in that range; fewer only where the image ends. */
export type ReadImage = (offsetBytes: number, lengthBytes: number) => Uint8Array;

/** A walk through neighbouring inodes then reads each piece once. */
const pieceSizeBytes = 64 * KiB;
const piecesMax = 32;

export class ImageBytes {
  readonly #read: ReadImage;
  /** The latest pieces by number, the least recently used first. */
  readonly #pieces = new Map<number, Uint8Array>();

  constructor(read: ReadImage) {
    this.#read = read;
  }

  /**
   * Exactly these bytes, not to be written to. Throws FormatError naming `structure` where the
   * image ends before.
   */
  take(structure: string, offsetBytes: number, lengthBytes: number): Uint8Array {
    const number = Math.floor(offsetBytes / pieceSizeBytes);
    const start = offsetBytes - number * pieceSizeBytes;
    const bytes =
      start + lengthBytes <= pieceSizeBytes
        ? this.#piece(number).subarray(start, start + lengthBytes)
        : this.#read(offsetBytes, lengthBytes);
    if (bytes.length === lengthBytes) return bytes;
    throw new FormatError(structure, offsetBytes, `the image ends within ${lengthBytes} bytes`);
  }

  /** As `take`, as a view. */
  view(structure: string, offsetBytes: number, lengthBytes: number): DataView {
    const bytes = this.take(structure, offsetBytes, lengthBytes);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #piece(number: number): Uint8Array {
    const piece = this.#pieces.get(number) ?? this.#read(number * pieceSizeBytes, pieceSizeBytes);
    this.#pieces.delete(number);
    this.#pieces.set(number, piece);
    if (this.#pieces.size > piecesMax) {
      this.#pieces.delete(defined(this.#pieces.keys().next().value, "the oldest piece"));
    }
    return piece;
  }
}

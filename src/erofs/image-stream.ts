/**
 * The way of an image's bytes to their sink: in order, in large pieces, hashed as they pass.
 *
 * @module
 */
import { assert } from "../util/assert.ts";
import { MiB } from "../util/bytes.ts";

/** Takes bytes of the image; `bytes` is valid during the call only. */
export type ImageSink = (offsetBytes: number, bytes: Uint8Array) => void;

const bufferSizeBytes = MiB;

export class ImageStream {
  readonly #buffer = Buffer.alloc(bufferSizeBytes);
  readonly #view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, bufferSizeBytes);
  readonly #sink: ImageSink;
  readonly #hash: Bun.CryptoHasher;
  #startBytes: number;
  #used = 0;

  constructor(sink: ImageSink, hash: Bun.CryptoHasher, startBytes: number) {
    this.#sink = sink;
    this.#hash = hash;
    this.#startBytes = startBytes;
  }

  get buffer(): Buffer {
    return this.#buffer;
  }

  get view(): DataView {
    return this.#view;
  }

  /** Where in the image the next byte goes. */
  get positionBytes(): number {
    return this.#startBytes + this.#used;
  }

  /** Makes `sizeBytes` zeroed bytes part of the image; returns where in `buffer` they begin. */
  claim(sizeBytes: number): number {
    assert(sizeBytes <= bufferSizeBytes, "a claim fits in the buffer");
    if (this.#used + sizeBytes > bufferSizeBytes) this.flush();
    const at = this.#used;
    this.#used += sizeBytes;
    return at;
  }

  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      if (this.#used === bufferSizeBytes) this.flush();
      const piece = bytes.subarray(done, done + bufferSizeBytes - this.#used);
      this.#buffer.set(piece, this.#used);
      this.#used += piece.length;
      done += piece.length;
    }
  }

  /** Fills with zeros up to a position in the image. */
  padTo(positionBytes: number): void {
    assert(positionBytes >= this.positionBytes, "an image is written front to back");
    for (let left = positionBytes - this.positionBytes; left > 0;) {
      if (this.#used === bufferSizeBytes) this.flush();
      const piece = Math.min(left, bufferSizeBytes - this.#used);
      this.#used += piece;
      left -= piece;
    }
  }

  flush(): void {
    const bytes = this.#buffer.subarray(0, this.#used);
    this.#hash.update(bytes);
    this.#sink(this.#startBytes, bytes);
    this.#startBytes += this.#used;
    bytes.fill(0);
    this.#used = 0;
  }
}

/**
 * A stream of bytes to pull from: the pieces come as they come, the reader asks for what it needs.
 *
 * @module
 */
import { blockBytes } from "./format.ts";

const nothing = Buffer.alloc(0);

export class ByteSource {
  /** Bytes taken so far: the offset in the stream. */
  position = 0;
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #block = Buffer.alloc(blockBytes);
  #piece: Buffer = nothing;
  #at = 0;

  /** A piece has to stay as it is until the next one is asked for. */
  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  /**
   * The next block, if it is there without waiting: most headers are. To be read before the next
   * call of any method.
   */
  blockAtHand(): Buffer | undefined {
    const end = this.#at + blockBytes;
    if (end > this.#piece.length) return undefined;
    const block = this.#piece.subarray(this.#at, end);
    this.#at = end;
    this.position += blockBytes;
    return block;
  }

  /** The next block; shorter where the stream ends, empty at its end. Valid like `blockAtHand`. */
  async block(): Promise<Buffer> {
    return this.blockAtHand() ?? this.#block.subarray(0, await this.read(this.#block));
  }

  /** Fills `target` as far as the stream goes; the number of bytes. */
  async read(target: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < target.length && (await this.#hasMore())) {
      const count = Math.min(target.length - filled, this.#piece.length - this.#at);
      this.#piece.copy(target, filled, this.#at, this.#at + count);
      this.#at += count;
      filled += count;
    }
    this.position += filled;
    return filled;
  }

  /** Passes over bytes as far as the stream goes; the number of bytes. */
  async skip(sizeBytes: number): Promise<number> {
    let skipped = 0;
    while (skipped < sizeBytes && (await this.#hasMore())) {
      const count = Math.min(sizeBytes - skipped, this.#piece.length - this.#at);
      this.#at += count;
      skipped += count;
    }
    this.position += skipped;
    return skipped;
  }

  async #hasMore(): Promise<boolean> {
    while (this.#at === this.#piece.length) {
      const next = await this.#pieces.next();
      if (next.done === true) return false;
      const { buffer, byteOffset, byteLength } = next.value;
      this.#piece = Buffer.from(buffer, byteOffset, byteLength);
      this.#at = 0;
    }
    return true;
  }
}

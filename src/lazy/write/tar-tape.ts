/**
 * A stream of bytes that somebody reads, and of which parts can be had once more right after they
 * were read: so a tar is parsed, and its headers are still copied as they are.
 *
 * @module
 */

interface Piece {
  readonly start: number;
  readonly bytes: Uint8Array;
}

export class TarTape implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterator<Uint8Array>;
  /** What was handed out and not forgotten, in order. */
  readonly #pieces: Piece[] = [];
  #end = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The same at each call; pieces stay as they are for as long as they are kept here. */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.#next() };
  }

  /** Bytes handed out so far. */
  get end(): number {
    return this.#end;
  }

  /** A copy of `[from, to)` of the stream, of which nothing was forgotten yet. */
  slice(from: number, to: number): Buffer {
    const copy = Buffer.allocUnsafe(to - from);
    for (const { start, bytes } of this.#pieces) {
      const first = Math.max(from, start);
      const last = Math.min(to, start + bytes.length);
      if (first < last) copy.set(bytes.subarray(first - start, last - start), first - from);
    }
    return copy;
  }

  /** Nothing before this offset is asked for any more. */
  forget(before: number): void {
    let count = 0;
    while (isBefore(this.#pieces[count], before)) count += 1;
    if (count > 0) this.#pieces.splice(0, count);
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    const next = await this.#source.next();
    if (next.done !== true) {
      this.#pieces.push({ start: this.#end, bytes: next.value });
      this.#end += next.value.length;
    }
    return next;
  }
}

function isBefore(piece: Piece | undefined, offset: number): boolean {
  return piece !== undefined && piece.start + piece.bytes.length <= offset;
}

/**
 * Decompresses a stream of bytes, whatever it is compressed with.
 *
 * All gzip members and zstd frames, also skippable ones; what is cut off or has something behind
 * its end is refused. Zstandard by DecompressionStream, which is right in all of that, at the price
 * of a thread and of memory for each piece. (`zlib.createZstdDecompress` ends cleanly in the middle
 * of a frame.)
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import { KiB } from "../util/bytes.ts";
import { detectCompression } from "./detect.ts";
import { Gunzip } from "./gunzip.ts";

const pieceBytes = 128 * KiB;

/** Brings content to where it is wanted. */
interface Decoder extends Disposable {
  /** Writes some bytes to `target` from `start` on; how many, 0 at the end. */
  step(target: Uint8Array, start: number): Promise<number> | number;
}

/** The content of a blob, to be read into memory of the reader's. */
export class ContentReader implements Disposable {
  readonly #decoder: Decoder;
  #failure: { readonly reason: unknown } | undefined;

  private constructor(decoder: Decoder) {
    this.#decoder = decoder;
  }

  /**
   * @param source pieces of the blob, the first of them long enough to tell the compression; each
   *   is done with when the next one is asked for
   */
  static async open(source: AsyncIterable<Uint8Array>): Promise<ContentReader> {
    const pieces = source[Symbol.asyncIterator]();
    const first = await pieces.next();
    if (first.done === true) return new ContentReader(new PlainDecoder(pieces));
    const compression = detectCompression(first.value);
    const all = startingWith(first.value, pieces);
    if (compression === "gzip") return new ContentReader(new GzipDecoder(all));
    return new ContentReader(new PlainDecoder(compression === "none" ? all : decodeZstd(all)));
  }

  /**
   * Fills `target`; the number of bytes, which is less before the end or a failure, 0 at the end.
   * Rejects with `data_loss` where the blob does not decompress, and with the error of the source
   * where that fails.
   */
  async read(target: Uint8Array): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure.reason;
    let filled = 0;
    try {
      while (filled < target.length) {
        const count = await this.#decoder.step(target, filled);
        if (count === 0) break;
        filled += count;
      }
    } catch (reason) {
      if (filled === 0) throw reason;
      this.#failure = { reason };
    }
    return filled;
  }

  [Symbol.dispose](): void {
    this.#decoder[Symbol.dispose]();
  }
}

/**
 * The content in pieces of no more than 128 KiB. A piece stays as it is until the next one is asked
 * for: who keeps it makes a copy.
 *
 * @param source as for `ContentReader.open`
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  using content = await ContentReader.open(source);
  const buffer = new Uint8Array(pieceBytes);
  for (let count = await content.read(buffer); count > 0; count = await content.read(buffer)) {
    yield buffer.subarray(0, count);
  }
}

async function* startingWith(
  first: Uint8Array,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  yield first;
  yield* { [Symbol.asyncIterator]: () => rest };
}

/** Of pieces that are content already. */
class PlainDecoder implements Decoder {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array(0);

  constructor(pieces: AsyncIterator<Uint8Array>) {
    this.#pieces = pieces;
  }

  async step(target: Uint8Array, start: number): Promise<number> {
    while (this.#piece.length === 0) {
      const next = await this.#pieces.next();
      if (next.done === true) return 0;
      this.#piece = next.value;
    }
    const part = this.#piece.subarray(0, target.length - start);
    target.set(part, start);
    this.#piece = this.#piece.subarray(part.length);
    return part.length;
  }

  [Symbol.dispose](): void {}
}

class GzipDecoder implements Decoder {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #gunzip = new Gunzip();

  constructor(pieces: AsyncIterator<Uint8Array>) {
    this.#pieces = pieces;
  }

  async step(target: Uint8Array, start: number): Promise<number> {
    for (;;) {
      const count = this.#gunzip.read(target, start);
      if (count > 0) return count;
      const next = await this.#pieces.next();
      if (next.done === true) break;
      this.#gunzip.feed(next.value);
    }
    this.#gunzip.finish();
    return 0;
  }

  [Symbol.dispose](): void {
    this.#gunzip[Symbol.dispose]();
  }
}

async function* decodeZstd(pieces: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  let failure: { readonly reason: unknown } | undefined;
  const compressed = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const next = await pieces.next();
        if (next.done === true) controller.close();
        // The stream asks for the next piece before it is done with this one.
        else controller.enqueue(next.value.slice());
      } catch (error) {
        failure = { reason: error };
        throw error;
      }
    },
  });
  // The types of Bun know one kind of buffer here, those of the streams another.
  const decoder = new DecompressionStream("zstd") as unknown as ReadableWritablePair<
    Uint8Array,
    Uint8Array
  >;
  try {
    for await (const piece of compressed.pipeThrough(decoder)) yield piece;
  } catch (error) {
    if (failure !== undefined) throw failure.reason;
    const problem = `Cannot decompress zstd: ${describeError(error)}`;
    throw new AppError("data_loss", problem, { cause: error });
  }
}

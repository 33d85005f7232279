/**
 * Decompresses a stream of bytes, whatever it is compressed with.
 *
 * DecompressionStream, because it is the one decoder of the runtime that is right in all of this:
 * it goes on after the first gzip member or zstd frame, skips skippable frames, and fails on input
 * that is cut off or has something behind its end. (`Bun.gunzipSync` stops after one member,
 * `zlib.createZstdDecompress` ends cleanly in the middle of a frame.) It works in another thread
 * and hands out at most what it was asked for, so that a small blob of a huge tar costs no memory.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import { detectCompression, type Compression } from "./detect.ts";

/**
 * The content of a blob; it is read a piece or two ahead of what is asked for. Rejects with
 * `data_loss` where it does not decompress, and with the error of the source where that fails.
 *
 * @param source pieces of the blob, the first of them long enough to tell the compression
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  const pieces = source[Symbol.asyncIterator]();
  const first = await pieces.next();
  if (first.done === true) return;
  const compression = detectCompression(first.value);
  if (compression === "none") {
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => pieces };
    return;
  }
  yield* decode(compression, first.value, pieces);
}

async function* decode(
  compression: Exclude<Compression, "none">,
  first: Uint8Array,
  pieces: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  let failure: { readonly reason: unknown } | undefined;
  const compressed = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(first),
    async pull(controller) {
      try {
        const next = await pieces.next();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value);
      } catch (error) {
        failure = { reason: error };
        throw error;
      }
    },
  });
  // The types of Bun know one kind of buffer here, those of the streams another.
  const decoder = new DecompressionStream(compression) as unknown as ReadableWritablePair<
    Uint8Array,
    Uint8Array
  >;
  try {
    for await (const piece of compressed.pipeThrough(decoder)) yield piece;
  } catch (error) {
    if (failure !== undefined) throw failure.reason;
    const problem = `Cannot decompress ${compression}: ${describeError(error)}`;
    throw new AppError("data_loss", problem, { cause: error });
  }
}

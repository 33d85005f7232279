/**
 * Decompresses what a range request brought: gzip members and zstd frames.
 *
 * At once where a member holds hardly more than is wanted of it, which is 8 times as fast for small
 * files as a stream; else as a stream that is left when enough has come. A stream's output is
 * bounded by what is taken from it, and what comes at once by its limit: no blob makes us unpack
 * more than it promised.
 *
 * @module
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { decompress } from "../../compress/decompress.ts";
import { KiB } from "../../util/bytes.ts";

/** Behind the content of a file follow its padding in the tar, and headers of the next entries. */
const slackBytes = 64 * KiB;
const gzipMagic = 0x1f;

/**
 * All that the member holds; undefined where that is more than was expected, or does not
 * decompress, as where something else follows it: then it is a case for `contentOf`.
 *
 * @param wantedBytes from the start of the member
 */
export function decodeAtOnce(compressed: Uint8Array, wantedBytes: number): Buffer | undefined {
  const boundBytes = wantedBytes + slackBytes;
  const options = { maxOutputLength: boundBytes, chunkSize: boundBytes };
  try {
    if (compressed[0] === gzipMagic) return gunzipSync(compressed, options);
    return zstdDecompressSync(compressed, options);
  } catch {
    return undefined;
  }
}

/**
 * The content from `innerOffsetBytes` on, at most `sizeBytes` of it. Rejects with `data_loss` where
 * it does not decompress so far.
 */
export async function* contentOf(
  compressed: AsyncIterable<Uint8Array>,
  innerOffsetBytes: number,
  sizeBytes: number,
): AsyncGenerator<Uint8Array, void> {
  const endBytes = innerOffsetBytes + sizeBytes;
  let at = 0;
  for await (const piece of decompress(compressed)) {
    const start = at;
    at += piece.length;
    const part = piece.subarray(
      Math.max(0, innerOffsetBytes - start),
      Math.max(0, endBytes - start),
    );
    if (part.length > 0) yield part;
    if (at >= endBytes) return;
  }
}

/**
 * The table of contents of a zstd:chunked blob: compressed JSON in a skippable frame.
 *
 * @module
 */
import { zstdDecompressSync } from "node:zlib";
import { tocBytesMax } from "../limits.ts";
import type { LazyLayer } from "../model.ts";
import { decodeToc } from "../toc-fields.ts";
import { parseToc } from "../toc.ts";
import { verifyToc } from "../verify-toc.ts";

/**
 * @param compressed the table as it lies in the blob
 * @param digest of the compressed table; undefined: not verified
 * @throws AppError `data_loss` for what is no table, or not the right one, `resource_exhausted`
 *   beyond the limits
 */
export function readZstdToc(
  compressed: Uint8Array,
  tocOffsetBytes: number,
  digest: string | undefined,
): LazyLayer {
  verifyToc(compressed, digest);
  const options = { maxOutputLength: tocBytesMax };
  const json = decodeToc(() => zstdDecompressSync(compressed, options));
  return parseToc(json, "zstd-chunked", tocOffsetBytes);
}

/**
 * Compressing and decompressing single extents, as the kernel does it.
 *
 * Compression runs on the threads of the runtime's pool: many extents at once use all cores.
 *
 * @module
 */
import { promisify } from "node:util";
import { deflateRaw, inflateRawSync, zstdDecompressSync } from "node:zlib";
import { FormatError } from "../errors.ts";
import { assert } from "../util/assert.ts";
import { freeBytes } from "../util/free-bytes.ts";
import {
  type CompressionAlgorithm,
  compressionAlgorithm,
  contentBlocks,
  extentBytesMax,
} from "./compression.ts";
import { blockSizeBytes } from "./format.ts";

export interface ExtentCodec {
  readonly algorithm: CompressionAlgorithm;
  readonly level: number;
}

const deflateRawAsync = promisify(deflateRaw);

/**
 * Whole blocks with the compressed content at their end; undefined where that saves no block. The
 * content must not change meanwhile.
 */
export async function encodeExtent(
  { algorithm, level }: ExtentCodec,
  content: Uint8Array,
): Promise<Uint8Array | undefined> {
  assert(content.length > 0 && content.length <= extentBytesMax, "an extent has a size");
  if (content.length <= blockSizeBytes) return undefined;
  const compressed =
    algorithm === compressionAlgorithm.zstd
      ? await Bun.zstdCompress(content, { level })
      : await deflateRawAsync(content, { level });
  const blocks = contentBlocks(compressed.length);
  // A deflate stream may begin with a zero (a stored block), which reads as padding.
  if (blocks >= contentBlocks(content.length) || compressed[0] === 0) return undefined;
  const stored = Buffer.alloc(blocks * blockSizeBytes);
  stored.set(compressed, stored.length - compressed.length);
  freeBytes(compressed);
  return stored;
}

/** The content of a compressed extent; throws FormatError for blocks that hold no such content. */
export function decodeExtent(
  algorithm: CompressionAlgorithm,
  stored: Uint8Array,
  sizeBytes: number,
): Uint8Array {
  const start = stored.findIndex((byte) => byte !== 0);
  if (start < 0 || start >= blockSizeBytes) throw malformed("no compressed data");
  const compressed = stored.subarray(start);
  let content: Uint8Array;
  try {
    const options = { maxOutputLength: extentBytesMax };
    content =
      algorithm === compressionAlgorithm.zstd
        ? zstdDecompressSync(compressed, options)
        : inflateRawSync(compressed, options);
  } catch (error) {
    throw malformed(`it cannot be decompressed: ${String(error)}`);
  }
  if (content.length === sizeBytes) return content;
  throw malformed(`${content.length} bytes instead of ${sizeBytes}`);
}

function malformed(problem: string): FormatError {
  return new FormatError("compressed extent", 0, problem);
}

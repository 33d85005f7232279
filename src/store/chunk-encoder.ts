/**
 * Compresses a chunk extent by extent, or finds that it is not worth it.
 *
 * @module
 */
import { extentBytesMax, extentLength } from "../erofs/compression.ts";
import { encodeExtent, type ExtentCodec } from "../erofs/extent-codec.ts";
import { alignUp } from "../util/bytes.ts";
import { blockBytes } from "./layout.ts";

export interface EncodedChunk {
  /** Stored blocks of each extent; null where all are raw. */
  readonly extents: Uint8Array | null;
  /** What to write, whole blocks, in order. */
  readonly pieces: readonly Uint8Array[];
}

/** A chunk of more extents is tried here and there first: media and archives stay as they are. */
const sampledExtentsMin = 4;

/**
 * A chunk stays raw unless it saves one block of so many: a file is read faster by plain addresses
 * than by an index of its blocks, and a single compressed chunk gives all of it the index.
 */
const savedBlocksDivisor = 16;

/** `padded` is the content and zeros up to the next block; it must not change meanwhile. */
export async function encodeChunk(
  codec: ExtentCodec,
  padded: Uint8Array,
  sizeBytes: number,
): Promise<EncodedChunk> {
  const count = Math.ceil(sizeBytes / extentBytesMax);
  const encode = (index: number) => encodeExtent(codec, extentOf(padded, sizeBytes, index));
  if (count >= sampledExtentsMin) {
    const sample = await Promise.all([0, count >> 1, count - 2].map(encode));
    if (sample.every((stored) => stored === undefined)) return { extents: null, pieces: [padded] };
  }
  const encoded = await Promise.all(Array.from({ length: count }, (_, index) => encode(index)));
  const pieces = encoded.map((blocks, index) => {
    const start = index * extentBytesMax;
    const length = alignUp(extentLength(sizeBytes, index), blockBytes);
    return blocks ?? padded.subarray(start, start + length);
  });
  const extents = Uint8Array.from(pieces, (piece) => piece.length / blockBytes);
  const blocks = padded.length / blockBytes;
  const savedBlocks = blocks - extents.reduce((sum, stored) => sum + stored, 0);
  const isWorthIt = savedBlocks * savedBlocksDivisor >= blocks;
  return isWorthIt ? { extents, pieces } : { extents: null, pieces: [padded] };
}

function extentOf(padded: Uint8Array, sizeBytes: number, index: number): Uint8Array {
  const start = index * extentBytesMax;
  return padded.subarray(start, start + extentLength(sizeBytes, index));
}

/**
 * Lazy blobs in memory: written by our writers, read back by what their bytes say.
 *
 * @module
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { lazyClaim } from "../../../src/lazy/annotations.ts";
import type { LazyEntry, LazyFormat, LazyLayer, LazySource } from "../../../src/lazy/model.ts";
import { footerRange, needsFooter, readLazyLayer, tocRange } from "../../../src/lazy/open.ts";
import { layerParts } from "../../../src/lazy/write/layer-parts.ts";
import type { LazyBlob } from "../../../src/lazy/write/layer-writer.ts";
import { lazyWriters } from "../../../src/lazy/write/writers.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import { pieces } from "../tar/raw-tar.ts";

export interface MemoryBlob extends LazyBlob {
  readonly bytes: Buffer;
}

/** A lazy blob of a tar; `wanted` are paths that go first, `traced` the hashes of chunks. */
export async function lazyBlob(
  tar: Buffer,
  format: LazyFormat,
  wanted: readonly string[] = [],
  traced: readonly string[] = [],
): Promise<MemoryBlob> {
  const source = {
    stream: () => pieces(tar, 10_007),
    read: async (at: number, length: number) => Buffer.from(tar.subarray(at, at + length)),
  };
  const parts = await layerParts(source, format, { wanted, traced });
  const blob: Uint8Array[] = [];
  const facts = await lazyWriters[format](parts.parts, (bytes) => void blob.push(bytes));
  return { ...facts, bytes: Buffer.concat(blob) };
}

/** The table of contents of a blob, where its annotations or its footer say it is. */
export function tocOf(bytes: Uint8Array, annotations: Readonly<Record<string, string>>) {
  const claim = lazyClaim(annotations);
  if (claim === undefined) throw new Error("the layer has no table of contents");
  const slice = (range: { offsetBytes: number; lengthBytes: number }) =>
    bytes.subarray(range.offsetBytes, range.offsetBytes + range.lengthBytes);
  const footer = needsFooter(claim) ? slice(footerRange(bytes.length)) : undefined;
  const range = tocRange(claim, bytes.length, footer);
  return { claim, range, toc: slice(range) };
}

/** What the annotations and a few ranges of a blob say. */
export async function readLazy(
  bytes: Uint8Array,
  annotations: Readonly<Record<string, string>>,
): Promise<LazyLayer> {
  const { claim, range, toc } = tocOf(bytes, annotations);
  return readLazyLayer(claim, range, toc);
}

/** The content of a piece of the blob, decompressed. */
export function readPiece(bytes: Buffer, piece: Omit<LazySource, "sha256">, sizeBytes: number) {
  const end = piece.blobOffsetBytes + piece.compressedBytes;
  const content = decompressAll(bytes.subarray(piece.blobOffsetBytes, end));
  return content.subarray(piece.innerOffsetBytes, piece.innerOffsetBytes + sizeBytes);
}

/** The content of a file, each chunk of its own range of the blob, and verified. */
export function readChunks(bytes: Buffer, entry: LazyEntry): Buffer {
  const chunks = entry.chunks.map(({ source, sizeBytes }) => {
    if (source === undefined) return Buffer.alloc(sizeBytes);
    const chunk = readPiece(bytes, source, sizeBytes);
    const expected = `sha256:${Buffer.from(source.sha256).toString("hex")}`;
    if (sha256Digest(chunk) !== expected) throw new Error(`a wrong chunk of ${entry.name}`);
    return chunk;
  });
  return Buffer.concat(chunks);
}

/** All members or frames of a blob, or of a part of one. */
export function decompressAll(bytes: Uint8Array): Buffer {
  return bytes[0] === 0x1f ? gunzipSync(bytes) : zstdDecompressSync(bytes);
}

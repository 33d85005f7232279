/**
 * A layer known from its table of contents alone, whatever format the table has.
 *
 * An entry is what the layer's tar says of a file, with the places of its content in the blob
 * instead of the content. What a tree makes of hostile entries (names that climb out, hard links to
 * nothing, the same name twice) is the same as for a tar: here they are only read.
 *
 * @module
 */
import type { TarEntry } from "../tar/entry.ts";

export type LazyFormat = "estargz" | "zstd-chunked";

/** A range of a blob. */
export interface BlobRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** A piece of a file. The chunks of a file follow each other without a gap, from 0 to its size. */
export interface LazyChunk {
  readonly fileOffsetBytes: number;
  readonly sizeBytes: number;
  /** Undefined for zeros, which need not be fetched. */
  readonly source: LazySource | undefined;
}

export interface LazySource {
  /** Of the chunk, decompressed. */
  readonly sha256: Uint8Array;
  /** Where the gzip member or zstd frame begins that holds it. */
  readonly blobOffsetBytes: number;
  /** Enough of the blob to decompress the chunk; something else may follow in it. */
  readonly compressedBytes: number;
  /** How much of what is decompressed lies before the chunk. */
  readonly innerOffsetBytes: number;
}

/** `offset` is the number of the entry in the table. */
export interface LazyEntry extends TarEntry {
  /** Of files with content; empty for all else. */
  readonly chunks: readonly LazyChunk[];
  /** Of the whole content of a file of several chunks, where the table has it. */
  readonly sha256: Uint8Array | undefined;
}

/** What the image's author says should be fetched before a container starts. */
export type LazyPrefetch =
  | { readonly kind: "unknown" }
  | { readonly kind: "nothing" }
  /** From the start of the blob up to here. */
  | { readonly kind: "range"; readonly endBytes: number };

export interface LazyLayer {
  readonly format: LazyFormat;
  /** In the order of the archive; later ones replace earlier ones, as in a tar. */
  readonly entries: readonly LazyEntry[];
  readonly prefetch: LazyPrefetch;
}

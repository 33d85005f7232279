/**
 * Brings the content of one file to where it belongs: small content into the metadata, the rest
 * into the chunk store, holes nowhere.
 *
 * @module
 */
import type { ByteStore } from "../erofs/inode-table.ts";
import { holeChunk, type FileContent } from "../erofs/tree.ts";
import { chunkUse, type ChunkSink } from "../store/chunk-sink.ts";
import { defined } from "../util/assert.ts";
import { limitError } from "./tar-limits.ts";

/** 16 Mi chunks: 64 TiB of 4 MiB chunks. Bounds the memory a sparse file can ask for. */
export const chunksPerFileMax = 2 ** 24;
export interface ContentOptions {
  readonly sink: Pick<ChunkSink, "space" | "put" | "recount" | "inlineBytesMax">;
  readonly chunkBytes: number;
  /** Keeps the content that goes into the image; in memory, if it is left out. */
  readonly inline?: ByteStore | undefined;
}

/** The bytes of a file. It is asked for ascending offsets only, so a stream can be one. */
export interface ContentSource {
  /** Whether there may be holes in it; zeros that are stored are no hole. */
  readonly isSparse: boolean;
  /** The first offset, not below the given one, where there may be data; undefined for none. */
  nextData(offset: number): number | undefined;
  /** Fills all of `target`; throws where there is less. */
  read(target: Buffer, offset: number): Promise<void> | void;
}

export interface StoredContent {
  readonly content: FileContent;
  /** Bytes of content, holes left out. */
  readonly contentBytes: number;
}

/** Reads the whole file, but for its holes. */
export async function storeContent(
  source: ContentSource,
  sizeBytes: number,
  { sink, chunkBytes }: ContentOptions,
): Promise<StoredContent> {
  if (sizeBytes <= sink.inlineBytesMax) return readInline(source, sizeBytes);
  const count = Math.ceil(sizeBytes / chunkBytes);
  if (count > chunksPerFileMax) {
    throw limitError(`A file of ${sizeBytes} bytes has too many chunks`);
  }
  const chunks = new Int32Array(count).fill(holeChunk);
  const several = source.isSparse ? chunkUse.sparse : chunkUse.dense;
  const use = count === 1 ? chunkUse.whole : several;
  let contentBytes = 0;
  for (let index = 0; index < count; index++) {
    const data = source.nextData(index * chunkBytes);
    if (data === undefined) break;
    index = Math.max(index, Math.floor(data / chunkBytes));
    const offset = index * chunkBytes;
    const length = Math.min(chunkBytes, sizeBytes - offset);
    await source.read(await sink.space(length), offset);
    const ref = sink.put(length, use);
    chunks[index] = ref;
    if (ref !== holeChunk) contentBytes += length;
  }
  const only = count === 1 ? defined(chunks[0], "the only chunk") : chunks;
  return { content: { kind: "chunks", chunkSizeBytes: chunkBytes, chunks: only }, contentBytes };
}

async function readInline(source: ContentSource, sizeBytes: number): Promise<StoredContent> {
  const bytes = Buffer.alloc(sizeBytes);
  if (sizeBytes > 0) await source.read(bytes, 0);
  return { content: { kind: "inline", bytes }, contentBytes: sizeBytes };
}

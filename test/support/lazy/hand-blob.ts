/**
 * zstd:chunked blobs whose chunks are cut where a test wants them: content that others would cut at
 * the places a rolling checksum tells.
 *
 * @module
 */
import { zstdCompressSync } from "node:zlib";
import { sha256Digest } from "../../../src/util/digest.ts";
import type { MemoryBlob } from "./lazy-blob.ts";
import type { tableOf as tableOfBlob } from "./lazy-store.ts";
import { type Row, tocJson } from "./make-toc.ts";

type LazyTable = ReturnType<typeof tableOfBlob>;

/** Bytes of content, or how many zeros that are in no frame. */
export type HandChunk = Uint8Array | number;

export interface HandFile {
  readonly name: string;
  readonly chunks: readonly HandChunk[];
}

export interface HandBlob {
  readonly blob: Pick<MemoryBlob, "bytes">;
  readonly table: LazyTable;
}

export function contentOf({ chunks }: HandFile): Buffer {
  return Buffer.concat(
    chunks.map((chunk) => (typeof chunk === "number" ? Buffer.alloc(chunk) : chunk)),
  );
}

/** A frame for each chunk, behind one that stands for the headers of the tar. */
export function handBlob(files: readonly HandFile[]): HandBlob {
  const frames: Buffer[] = [zstdCompressSync(Buffer.alloc(512))];
  let offset = frames[0]!.length;
  const rows: Row[] = [];
  for (const file of files) {
    let chunkOffset = 0;
    for (const chunk of file.chunks) {
      const chunkSize = typeof chunk === "number" ? chunk : chunk.length;
      rows.push({ ...rowOf(file, chunk), name: file.name, offset, chunkOffset, chunkSize });
      chunkOffset += chunkSize;
      if (typeof chunk === "number") continue;
      const frame = zstdCompressSync(chunk);
      frames.push(frame);
      offset += frame.length;
    }
  }
  // The end of the tar, which no row names.
  const bytes = Buffer.concat([...frames, zstdCompressSync(Buffer.alloc(1024))]);
  return { blob: { bytes }, table: tableOf(rows, bytes.length) };
}

function rowOf(file: HandFile, chunk: HandChunk): Row {
  const content =
    typeof chunk === "number" ? { chunkType: "zeros" } : { chunkDigest: sha256Digest(chunk) };
  if (chunk !== file.chunks[0]) return { type: "chunk", ...content };
  const whole = contentOf(file);
  return { type: "reg", size: whole.length, digest: sha256Digest(whole), mode: 0o644, ...content };
}

/** Rows whose content lies before `tocOffset`, which nobody need ever read. */
export function tableOf(rows: readonly Row[], tocOffset: number): LazyTable {
  const toc = zstdCompressSync(tocJson(rows));
  return {
    digest: sha256Digest(toc),
    sizeBytes: tocOffset + toc.length,
    image: "registry.example/by/hand:1",
    claim: { format: "zstd-chunked", tocDigest: sha256Digest(toc) },
    range: { offsetBytes: tocOffset, lengthBytes: toc.length },
    toc,
  };
}

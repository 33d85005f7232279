/**
 * Lazy packs whose blob is in memory: gzip members or zstd frames around content from a seed.
 *
 * @module
 */
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { LazyFormat } from "../../../src/lazy/model.ts";
import { encodePieceMap, type Piece } from "../../../src/ondemand/piece-map.ts";
import { alignUp, MiB } from "../../../src/util/bytes.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import { randomBytes } from "../random.ts";

const blockBytes = 4096;
/** Of the smallest class of lazy packs (store/layout.ts). */
const packFileBytes = 128 * MiB;

export interface LazyPackOptions {
  readonly format?: LazyFormat;
  /** Sizes of files; each begins at a block. */
  readonly sizes: readonly number[];
  readonly chunkBytes?: number;
  /** Chunks of a file that share a gzip member, as with estargz's min-chunk-size; default 1. */
  readonly chunksPerMember?: number;
  /** Bytes of the blob that belong to nobody, in front of each member: tar headers. */
  readonly gapBytes?: number;
  /** Content of further files, behind those of `sizes`. */
  readonly files?: readonly Uint8Array[];
  /** Same seed, same content. */
  readonly seed?: string;
}

export interface LazyPackFixture {
  readonly format: LazyFormat;
  readonly blob: Buffer;
  readonly digest: string;
  readonly pieces: readonly Piece[];
  /** Up to the end of the last file. */
  readonly content: Buffer;
}

export function makeLazyPack(options: LazyPackOptions): LazyPackFixture {
  const { format = "estargz", sizes, chunkBytes = MiB, chunksPerMember = 1 } = options;
  const { gapBytes = 0, seed = "pack", files = [] } = options;
  const compress = format === "estargz" ? gzipSync : zstdCompressSync;
  const blob: Buffer[] = [];
  const pieces: Piece[] = [];
  let [blobBytes, packBytes] = [0, 0];
  const memberBytes = chunkBytes * chunksPerMember;
  const all = [...sizes.map((sizeBytes, file) => madeUp(sizeBytes, `${seed} ${file}`)), ...files];
  const content = Buffer.alloc(
    all.reduce((sum, { length }) => sum + alignUp(length, blockBytes), 0),
  );
  for (const bytes of all) {
    const sizeBytes = bytes.length;
    content.set(bytes, packBytes);
    for (let at = 0; at < sizeBytes; at += memberBytes) {
      const member = bytes.subarray(at, at + memberBytes);
      const compressed = compress(member);
      blob.push(Buffer.alloc(gapBytes, 7), compressed);
      blobBytes += gapBytes;
      for (let inner = 0; inner < member.length; inner += chunkBytes) {
        const chunk = member.subarray(inner, inner + chunkBytes);
        pieces.push({
          packOffsetBytes: packBytes + at + inner,
          sizeBytes: chunk.length,
          sha256: Bun.SHA256.hash(chunk) as Uint8Array,
          blobOffsetBytes: blobBytes,
          compressedBytes: compressed.length,
          innerOffsetBytes: inner,
        });
      }
      blobBytes += compressed.length;
    }
    packBytes += alignUp(sizeBytes, blockBytes);
  }
  const joined = Buffer.concat(blob);
  return { format, blob: joined, digest: sha256Digest(joined), pieces, content };
}

/** Half of it compresses. */
function madeUp(sizeBytes: number, seed: string): Buffer {
  const random = randomBytes(seed, Math.ceil(sizeBytes / 2));
  return Buffer.concat([random, Buffer.alloc(Math.floor(sizeBytes / 2), `${seed} `)]);
}

/** Writes the files of a pack into `packs` of a root; the path of the pack. */
export function writeLazyPack(
  root: string,
  packId: number,
  { format, blob, digest, pieces, content }: LazyPackFixture,
  image = "registry.test/app:1",
): string {
  const folder = join(root, "packs");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${packId}.pack`);
  writeFileSync(path, "");
  truncateSync(path, packFileBytes);
  const origin = { format, image, digest, blobBytes: blob.length, prefetchEndBytes: 0 };
  writeFileSync(join(folder, `${packId}.pieces`), encodePieceMap(origin, pieces, content.length));
  return path;
}

/** What is in the pack, as far as it has content. */
export function packContent(path: string, { content }: LazyPackFixture): Buffer {
  return readFileSync(path).subarray(0, content.length);
}

/** Answers requests for ranges of blobs, as a registry should. */
export function honestly(blobs: readonly Pick<LazyPackFixture, "digest" | "blob">[]) {
  return (request: Request): Response => {
    const found = blobs.find(({ digest }) => new URL(request.url).pathname.endsWith(digest));
    if (found === undefined) return new Response(null, { status: 404 });
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    const [start, end] = [Number(range?.[1] ?? 0), Number(range?.[2] ?? 0)];
    const part = found.blob.subarray(start, end + 1);
    const headers = { "content-range": `bytes ${start}-${end}/${found.blob.length}` };
    return new Response(Uint8Array.from(part), { status: 206, headers });
  };
}

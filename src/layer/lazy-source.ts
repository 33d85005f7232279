/**
 * The entries of a table of contents, and where the content of their files will be found.
 *
 * Content that the node has is named where it lies. The rest gets a place in the lazy pack of the
 * layer, where each file begins at a block and its pieces follow each other. A file may have both:
 * where the chunks of the table are those of an EROFS file, all of one size that is a power of two,
 * each of them may lie elsewhere. Other files (zstd:chunked cuts where the content tells it to) are
 * one run of blocks, or are known as a whole.
 *
 * Zeros are content of the pack too, in files that have other content: a hole would keep the file
 * from referring to compressed content. They cost nothing, for no piece is made of them and nobody
 * ever fills the place.
 *
 * @module
 */
import { bundledBytesMax } from "../store/bundle-builder.ts";
import type { ChunkTable } from "../store/chunk-table.ts";
import { KnownContent, type KnownContentOptions } from "../store/known-content.ts";
import { blockBytes, blocksFor } from "../store/layout.ts";
import { AppError } from "../errors.ts";
import { type ChunkRef, type FileContent, holeChunk } from "../erofs/tree.ts";
import type { LazyChunk, LazyEntry } from "../lazy/model.ts";
import type { Piece } from "../ondemand/piece-map.ts";
import { GiB, isPowerOfTwo } from "../util/bytes.ts";
import type { StoredContent } from "./file-content.ts";
import type { TreeSource } from "./tree-source.ts";

/** Hashes that are asked for at once. */
const lookedUpAtOnce = 4096;
/** The length of a chunk of the image has 32 bits; longer runs are several in a row. */
const runBytesMax = GiB;
/** The largest chunk a block map knows: 2^31 blocks (erofs/chunk-map.ts). */
const holeBytesMax = 2 ** 31 * blockBytes;

/** What is to come from elsewhere. */
export interface MissingContent {
  /** Where chunks of the layer begin, in blocks from the start of the lazy pack. */
  readonly places: ReadonlyMap<ChunkRef, number>;
  readonly blocks: number;
  /** In ascending order of their place, which is counted from the start of the lazy pack. */
  readonly pieces: readonly Piece[];
}

export class LazySource implements TreeSource {
  readonly offsetUnit = "entry";
  readonly #entries: readonly LazyEntry[];
  readonly #table: ChunkTable;
  readonly #known: KnownContent;
  /** What chunks of the layer consist of, together with those that follow them in one run. */
  readonly #runs = new Map<ChunkRef, readonly LazyChunk[]>();
  #position = -1;
  /** Entries in front of this one were asked for. */
  #loadedEnd = 0;

  constructor(entries: readonly LazyEntry[], table: ChunkTable, known: KnownContentOptions) {
    this.#entries = entries;
    this.#table = table;
    this.#known = new KnownContent(known);
  }

  /** No garbage is collected for each row (util/garbage.ts): the table is alive as objects. */
  async next(): Promise<LazyEntry | undefined> {
    this.#position += 1;
    return this.#entries[this.#position];
  }

  async content(sizeBytes: number): Promise<StoredContent> {
    if (this.#position >= this.#loadedEnd) this.#load();
    const entry = this.#entries[this.#position]!;
    let contentBytes = 0;
    for (const chunk of entry.chunks)
      if (chunk.source !== undefined) contentBytes += chunk.sizeBytes;
    if (sizeBytes === 0)
      return { content: { kind: "inline", bytes: Buffer.alloc(0) }, contentBytes };
    if (contentBytes === 0) return { content: holeOf(sizeBytes), contentBytes };
    return { content: this.#chunksOf(entry), contentBytes };
  }

  copy(): never {
    throw needsLower("a file");
  }

  recount(refs: Iterable<ChunkRef>): void {
    this.#table.recount(refs);
  }

  /**
   * Gives every chunk that the layer uses and the node has not got a place in the lazy pack. To be
   * called once, after the tree was built.
   */
  layOut(): MissingContent {
    const places = new Map<ChunkRef, number>();
    const pieces: Piece[] = [];
    let blocks = 0;
    for (const ref of this.#table.used()) {
      if (this.#table.isSettled(ref)) continue;
      places.set(ref, blocks);
      const run = this.#runs.get(ref);
      for (const piece of piecesOf(run ?? [], blocks * blockBytes)) pieces.push(piece);
      blocks += blocksFor(this.#table.sizeOf(ref));
    }
    return { blocks, pieces, places };
  }

  #load(): void {
    const hashes: Uint8Array[] = [];
    let end = this.#position;
    for (; end < this.#entries.length && hashes.length < lookedUpAtOnce; end++) {
      const { chunks, sha256 } = this.#entries[end]!;
      for (const { source } of chunks) if (source !== undefined) hashes.push(source.sha256);
      if (sha256 !== undefined) hashes.push(sha256);
    }
    this.#loadedEnd = end;
    this.#known.load(hashes);
  }

  #chunksOf({ chunks, sizeBytes, sha256 }: LazyEntry): FileContent {
    const whole = sha256 && this.#known.find(sha256, sizeBytes, false);
    if (whole !== undefined)
      return chunked(sizeBytes, [this.#chunkRef(sha256, sizeBytes, false, chunks)]);
    const chunkBytes = chunkSizeOf(chunks);
    if (chunkBytes === undefined) return this.#runOf(chunks, sizeBytes, sha256);
    const refs = Int32Array.from(chunks, (chunk, index) => {
      // Only the end of a file can be in a bundle (erofs/content-places.ts).
      const needsRaw = index < chunks.length - 1 && chunk.sizeBytes <= bundledBytesMax;
      return this.#chunkRef(chunk.source?.sha256, chunk.sizeBytes, needsRaw, [chunk]);
    });
    return chunked(chunkBytes, refs);
  }

  /** As it is in the lazy pack, whatever the node has of it. */
  #runOf(
    chunks: readonly LazyChunk[],
    sizeBytes: number,
    sha256: Uint8Array | undefined,
  ): FileContent {
    if (sizeBytes <= runBytesMax) {
      return chunked(sizeBytes, [this.#chunkRef(sha256, sizeBytes, false, chunks)]);
    }
    const count = Math.ceil(sizeBytes / runBytesMax);
    const refs = Int32Array.from({ length: count }, (_, index) =>
      this.#table.addUnique(Math.min(runBytesMax, sizeBytes - index * runBytesMax), false),
    );
    this.#runs.set(refs[0]!, chunks);
    return chunked(runBytesMax, refs);
  }

  /** @param chunks what it consists of */
  #chunkRef(
    sha256: Uint8Array | undefined,
    sizeBytes: number,
    needsRaw: boolean,
    chunks: readonly LazyChunk[],
  ): ChunkRef {
    const present = sha256 && this.#table.use(sha256, needsRaw);
    if (present !== undefined) {
      if (this.#table.sizeOf(present) === sizeBytes) return present;
      const problem = `content of ${sizeBytes} bytes with the digest of other content`;
      throw new AppError("data_loss", `The table of contents has ${problem}`);
    }
    const ref =
      sha256 === undefined
        ? this.#table.addUnique(sizeBytes, needsRaw)
        : this.#table.add(sha256, sizeBytes, needsRaw);
    const row = sha256 && this.#known.find(sha256, sizeBytes, needsRaw);
    if (row !== undefined) this.#table.settle(ref, row, "known");
    else this.#runs.set(ref, chunks);
    return ref;
  }
}

/** A layer that takes something from those below cannot be made of its table alone. */
export function needsLower(what = "something"): AppError {
  const problem = `not lazy: the layer takes ${what} from those below it`;
  return new AppError("failed_precondition", problem);
}

/** The size of all chunks but the last, where a block map can name them; else undefined. */
function chunkSizeOf(chunks: readonly LazyChunk[]): number | undefined {
  const [first] = chunks;
  const last = chunks.at(-1);
  if (first === undefined || last === undefined) return undefined;
  if (chunks.length === 1) return first.sizeBytes;
  const isEven = chunks.every((chunk) => chunk === last || chunk.sizeBytes === first.sizeBytes);
  const isFitting = first.sizeBytes >= blockBytes && isPowerOfTwo(first.sizeBytes);
  return isEven && isFitting && last.sizeBytes <= first.sizeBytes ? first.sizeBytes : undefined;
}

/** @param chunkBytes at least; the next power of two is taken */
function chunked(chunkBytes: number, chunks: readonly ChunkRef[] | Int32Array): FileContent {
  const chunkSizeBytes = Math.max(blockBytes, 2 ** Math.ceil(Math.log2(chunkBytes)));
  const only = chunks.length === 1 ? chunks[0]! : chunks;
  return { kind: "chunks", chunkSizeBytes, chunks: only };
}

function holeOf(sizeBytes: number): FileContent {
  const count = Math.ceil(sizeBytes / holeBytesMax);
  return chunked(Math.min(sizeBytes, holeBytesMax), new Int32Array(count).fill(holeChunk));
}

/** @param start where in the pack the first of the chunks begins */
function* piecesOf(chunks: readonly LazyChunk[], start: number): Generator<Piece, void> {
  const skippedBytes = chunks[0]?.fileOffsetBytes ?? 0;
  for (const { fileOffsetBytes, sizeBytes, source } of chunks) {
    if (source === undefined) continue;
    const packOffsetBytes = start + fileOffsetBytes - skippedBytes;
    // Named one by one, for there are as many as chunks: to spread objects takes its time.
    const { sha256, blobOffsetBytes, compressedBytes, innerOffsetBytes } = source;
    yield {
      packOffsetBytes,
      sizeBytes,
      sha256,
      blobOffsetBytes,
      compressedBytes,
      innerOffsetBytes,
    };
  }
}

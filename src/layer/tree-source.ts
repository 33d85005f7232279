/**
 * Where the entries of a tree come from, and what becomes of the content of its files: a tar whose
 * content goes to the packs, or a table of contents whose content is elsewhere (lazy-source.ts).
 *
 * @module
 */
import type { ChunkRef } from "../erofs/tree.ts";
import type { TarEntry } from "../tar/entry.ts";
import { TarReader } from "../tar/reader.ts";
import { assert } from "../util/assert.ts";
import { noteRows } from "../util/garbage.ts";
import {
  type ContentOptions,
  type ContentSource,
  storeContent,
  type StoredContent,
} from "./file-content.ts";
import type { TarBudget } from "./tar-limits.ts";

export interface TreeSource {
  /** What the `offset` of entries counts. */
  readonly offsetUnit: "byte" | "entry";
  /** Undefined at the end. */
  next(): Promise<TarEntry | undefined>;
  /** The content of the entry that came last, a file. To be asked once. */
  content(sizeBytes: number): Promise<StoredContent>;
  /** Keeps content of another layer. */
  copy(content: ContentSource, sizeBytes: number): Promise<StoredContent>;
  /** To be told of each use of a chunk in the end, where files were replaced. */
  recount(refs: Iterable<ChunkRef>): void;
}

export class TarSource implements TreeSource {
  readonly offsetUnit = "byte";
  readonly #reader: TarReader;
  readonly #options: ContentOptions;
  readonly #budget: TarBudget;

  /** @param tar uncompressed */
  constructor(tar: AsyncIterable<Uint8Array>, options: ContentOptions, budget: TarBudget) {
    // Containerd passes over global records.
    this.#reader = new TarReader(tar, { globalRecords: "ignore" });
    this.#options = options;
    this.#budget = budget;
  }

  next(): Promise<TarEntry | undefined> {
    noteRows();
    return this.#reader.next();
  }

  content(sizeBytes: number): Promise<StoredContent> {
    return this.#store(contentOf(this.#reader, sizeBytes, this.#budget), sizeBytes);
  }

  copy(content: ContentSource, sizeBytes: number): Promise<StoredContent> {
    return this.#store(
      {
        isSparse: content.isSparse,
        nextData: (offset) => content.nextData(offset),
        read: (target, offset) => {
          this.#budget.charge("impliedBytes", target.length);
          return content.read(target, offset);
        },
      },
      sizeBytes,
    );
  }

  #store(content: ContentSource, sizeBytes: number): Promise<StoredContent> {
    this.#budget.charge("chunks", Math.ceil(sizeBytes / this.#options.chunkBytes));
    return storeContent(content, sizeBytes, this.#options);
  }

  recount(refs: Iterable<ChunkRef>): void {
    this.#options.sink.recount(refs);
  }
}

/** The content of the entry at hand. */
function contentOf(reader: TarReader, sizeBytes: number, budget: TarBudget): ContentSource {
  let position = 0;
  return {
    isSparse: reader.isSparse,
    nextData(offset) {
      assert(offset === position, "a tar is read in order");
      const data = offset + reader.holeBytes();
      return data < sizeBytes ? data : undefined;
    },
    async read(target, offset) {
      reader.skipHole(offset - position);
      const impliedBytes = reader.filledBytes;
      const count = await reader.readContent(target);
      budget.charge("impliedBytes", reader.filledBytes - impliedBytes);
      assert(count === target.length, "the content is as long as its entry says");
      position = offset + count;
    },
  };
}

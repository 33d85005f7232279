/**
 * The content of chunks wherever it lies, and only if it is what it should be.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { AppError } from "../errors.ts";
import { toHex } from "../util/bytes.ts";
import { ChunkReader } from "./chunk-reader.ts";
import type { ChunkRow } from "./index-database.ts";
import { blockOfPlace, packOfBlock } from "./layout.ts";
import { packPath, type StorePaths } from "./paths.ts";

const sha256Bytes = 32;

export class VerifiedContent implements Disposable {
  readonly #database: Database;
  readonly #paths: StorePaths;
  readonly #readers = new Map<number, ChunkReader>();
  readonly #hash = new Uint8Array(sha256Bytes);

  constructor(database: Database, paths: StorePaths) {
    this.#database = database;
    this.#paths = paths;
  }

  [Symbol.dispose](): void {
    for (const reader of this.#readers.values()) reader[Symbol.dispose]();
  }

  /** Throws `data_loss` for content that has not the hash of its chunk. */
  read(chunk: ChunkRow): Uint8Array {
    const content = this.#readerOf(chunk).read(chunk);
    if (content !== undefined) Bun.SHA256.hash(content, this.#hash);
    if (content !== undefined && Buffer.compare(this.#hash, chunk.sha256) === 0) return content;
    const problem = `Chunk ${toHex(chunk.sha256)} at block ${blockOfPlace(chunk.place)} is damaged`;
    throw new AppError("data_loss", problem, {
      remedy: "pull an image that has the content, or run `dedup-snapshotter check --data`",
    });
  }

  #readerOf({ place }: ChunkRow): ChunkReader {
    const packId = packOfBlock(blockOfPlace(place));
    let reader = this.#readers.get(packId);
    if (reader === undefined) {
      reader = new ChunkReader(this.#database, packPath(this.#paths, packId));
      this.#readers.set(packId, reader);
    }
    return reader;
  }
}

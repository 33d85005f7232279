/**
 * Which content the node has already, asked by its hash alone, of many at once.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import type { CompressionAlgorithm } from "../erofs/compression.ts";
import { type ChunkRow, findChunks } from "./index-database.ts";

export interface KnownContentOptions {
  readonly database: Database;
  /** What else than raw content the image can have. */
  readonly algorithm: CompressionAlgorithm | undefined;
}

export class KnownContent {
  readonly #options: KnownContentOptions;
  readonly #rows = new Map<string, ChunkRow[]>();

  constructor(options: KnownContentOptions) {
    this.#options = options;
  }

  /** Asks the index for these; what was asked before is forgotten. */
  load(hashes: readonly Uint8Array[]): void {
    const { database, algorithm } = this.#options;
    this.#rows.clear();
    findChunks(database, hashes, (row) => {
      if (row.encoding !== 0 && row.encoding !== algorithm) return;
      const key = keyOf(row.sha256);
      this.#rows.set(key, [...(this.#rows.get(key) ?? []), row]);
    });
  }

  /**
   * Where the content lies, compressed rather than raw; undefined where it is unknown. A table of
   * contents may say anything: content of another size is not the one that is meant.
   */
  find(sha256: Uint8Array, sizeBytes: number, needsRaw: boolean): ChunkRow | undefined {
    if (this.#rows.size === 0) return undefined;
    const rows = this.#rows.get(keyOf(sha256))?.filter((row) => row.size_bytes === sizeBytes);
    const raw = rows?.find(({ encoding }) => encoding === 0);
    return needsRaw ? raw : (rows?.find(({ encoding }) => encoding !== 0) ?? raw);
  }
}

/** `Buffer.from` of the bytes' buffer would make that an object of its own, for good. */
function keyOf(sha256: Uint8Array): string {
  return (Buffer.isBuffer(sha256) ? sha256 : Buffer.from(sha256)).toString("latin1");
}

/** Bounds the rows of one question. */
const lookedUpAtOnce = 4096;

/** The compression that most of this content lies in, by bytes; undefined where none does. */
export function preferredAlgorithm(
  database: Database,
  hashes: Iterable<Uint8Array>,
): CompressionAlgorithm | undefined {
  const sizes = new Map<CompressionAlgorithm, number>();
  const count = ({ encoding, size_bytes: sizeBytes }: ChunkRow) => {
    if (encoding !== 0) sizes.set(encoding, (sizes.get(encoding) ?? 0) + sizeBytes);
  };
  let batch: Uint8Array[] = [];
  for (const hash of hashes) {
    batch.push(hash);
    if (batch.length < lookedUpAtOnce) continue;
    findChunks(database, batch, count);
    batch = [];
  }
  findChunks(database, batch, count);
  const [most] = [...sizes].toSorted(([, left], [, right]) => right - left);
  return most?.[0];
}

/**
 * Collects the rows of a table of contents and writes them down as soon as their places in the blob
 * are known, so that only few are objects at a time.
 *
 * @module
 */
import { KiB } from "../../util/bytes.ts";
import type { TocRow } from "./toc-rows.ts";

const joinBytes = 256 * KiB;

interface PendingRows {
  readonly rows: readonly TocRow[];
  missing: number;
}

export class TocBuilder {
  readonly #parts: Buffer[] = [];
  #pending: PendingRows[] = [];
  #text: string[] = [];
  #textLength = 0;
  #count = 0;
  /** Of the JSON, to be asked against a limit. */
  sizeBytes = 0;

  /**
   * Adds the rows of an entry.
   *
   * @param rows may grow and change until they are placed
   * @param chunks how many chunks have to be placed
   * @returns to be called for each chunk that was placed
   */
  add(rows: readonly TocRow[], chunks: number): () => void {
    const pending = { rows, missing: chunks };
    this.#pending.push(pending);
    this.#settle();
    return () => {
      pending.missing -= 1;
      this.#settle();
    };
  }

  /** The table; all chunks have to be placed. */
  finish(more: Readonly<Record<string, string>> = {}): Buffer {
    this.#join();
    const end = Object.entries(more).map(
      ([key, value]) => `,${JSON.stringify(key)}:${JSON.stringify(value)}`,
    );
    const head = Buffer.from('{"version":1,"entries":[');
    return Buffer.concat([head, ...this.#parts, Buffer.from(`]${end.join("")}}`)]);
  }

  #settle(): void {
    let done = 0;
    for (const { rows, missing } of this.#pending) {
      if (missing > 0) break;
      for (const row of rows) this.#write(row);
      done += 1;
    }
    if (done > 0) this.#pending = this.#pending.slice(done);
  }

  #write(row: TocRow): void {
    const line = `${this.#count === 0 ? "" : ","}${JSON.stringify(row)}`;
    this.#count += 1;
    this.#text.push(line);
    this.#textLength += line.length;
    if (this.#textLength > joinBytes) this.#join();
  }

  #join(): void {
    const part = Buffer.from(this.#text.join(""));
    this.#parts.push(part);
    this.sizeBytes += part.length;
    this.#text = [];
    this.#textLength = 0;
  }
}

/**
 * Writes a file of many small pieces with few calls, and syncs it.
 *
 * @module
 */
import { open, type FileHandle } from "node:fs/promises";
import { MiB } from "../util/bytes.ts";

const batchBytes = MiB;

export class FileSink implements AsyncDisposable {
  readonly #file: FileHandle;
  #batch: Uint8Array[] = [];
  #batchBytes = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async create(path: string): Promise<FileSink> {
    return new FileSink(await open(path, "w", 0o644));
  }

  /** @param bytes may not change later */
  async write(bytes: Uint8Array): Promise<void> {
    this.#batch.push(bytes);
    this.#batchBytes += bytes.length;
    if (this.#batchBytes >= batchBytes) await this.#flush();
  }

  /** After the last piece: all is on disk. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#file.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async #flush(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    await this.#file.writeFile(Buffer.concat(batch));
  }
}

/**
 * The tar in a blob: a stream of bytes, read once and hashed while it goes by.
 *
 * @module
 */
import { decompress } from "../compress/decompress.ts";
import { AppError } from "../errors.ts";
import type { AppliedBlob } from "../snapshot/contract.ts";
import { TiB } from "../util/bytes.ts";
import { BlobBytes, type BlobSource, type ReadElsewhere } from "./blob-bytes.ts";

/** What a small blob may become; no layer is near it, and a bomb ends there. */
const tarBytesMax = 4 * TiB;

export interface TarStream extends AsyncDisposable {
  /**
   * The same at each call: who stops early lets the next go on. A piece stays as it is until the
   * next one is asked for.
   */
  pieces(): AsyncIterable<Uint8Array>;
  /** Reads what is left of the blob; rejects with `data_loss` if its digest is another one. */
  verify(): Promise<void>;
  /** Of all the pieces that there were. */
  facts(): Promise<AppliedBlob>;
}

/** Opens the tar in a blob; `read` is for a blob that is no file. */
export type OpenTar = (blob: BlobSource, read: ReadElsewhere) => Promise<TarStream>;

/** Reads, decompresses and hashes in the thread that calls. */
export class LocalTarStream implements TarStream {
  readonly #blob: BlobSource;
  readonly #bytes: BlobBytes;
  readonly #hasher = new Bun.CryptoHasher("sha256");
  readonly #pieces: AsyncGenerator<Uint8Array, void>;
  #sizeBytes = 0;

  private constructor(blob: BlobSource, bytes: BlobBytes) {
    this.#blob = blob;
    this.#bytes = bytes;
    this.#pieces = this.#readAll();
  }

  static async open(blob: BlobSource, read: ReadElsewhere): Promise<LocalTarStream> {
    return new LocalTarStream(blob, await BlobBytes.open(blob, read));
  }

  pieces(): AsyncIterable<Uint8Array> {
    const next = () => this.#pieces.next();
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  verify(): Promise<void> {
    return this.#bytes.verify();
  }

  facts(): Promise<AppliedBlob> {
    const diffId = `sha256:${this.#hasher.digest("hex")}`;
    return Promise.resolve({ diffId, tarBytes: this.#sizeBytes });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#bytes[Symbol.asyncDispose]();
  }

  async *#readAll(): AsyncGenerator<Uint8Array, void> {
    for await (const piece of decompress(this.#bytes.pieces())) {
      this.#sizeBytes += piece.length;
      if (this.#sizeBytes > tarBytesMax) {
        const problem = `Blob "${this.#blob.digest}" holds more than 4 TiB`;
        throw new AppError("resource_exhausted", problem);
      }
      this.#hasher.update(piece);
      yield piece;
    }
  }
}

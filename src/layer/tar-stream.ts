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
  /** Of all the pieces that there were. To be asked once. */
  facts(): Promise<AppliedBlob>;
}

/** Opens the tar in a blob; `read` is for a blob that is no file. */
export type OpenTar = (blob: BlobSource, read: ReadElsewhere) => Promise<TarStream>;

/** Finds out what there is to know of a tar from its bytes. */
export class TarHasher {
  readonly #hasher = new Bun.CryptoHasher("sha256");
  #sizeBytes = 0;

  update(piece: Uint8Array): void {
    this.#hasher.update(piece);
    this.#sizeBytes += piece.length;
  }

  facts(): AppliedBlob {
    return { diffId: `sha256:${this.#hasher.digest("hex")}`, tarBytes: this.#sizeBytes };
  }
}

/** A blob that is decompressed; its own digest is found out, not the one of what is in it. */
export class DecodedBlob implements AsyncDisposable {
  readonly #blob: BlobSource;
  readonly #bytes: BlobBytes;
  readonly #pieces: AsyncGenerator<Uint8Array, void>;

  private constructor(blob: BlobSource, bytes: BlobBytes) {
    this.#blob = blob;
    this.#bytes = bytes;
    this.#pieces = this.#readAll();
  }

  static async open(blob: BlobSource, read: ReadElsewhere): Promise<DecodedBlob> {
    return new DecodedBlob(blob, await BlobBytes.open(blob, read));
  }

  pieces(): AsyncIterable<Uint8Array> {
    const next = () => this.#pieces.next();
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  verify(): Promise<void> {
    return this.#bytes.verify();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#bytes[Symbol.asyncDispose]();
  }

  async *#readAll(): AsyncGenerator<Uint8Array, void> {
    let sizeBytes = 0;
    for await (const piece of decompress(this.#bytes.pieces())) {
      sizeBytes += piece.length;
      if (sizeBytes > tarBytesMax) {
        const problem = `Blob "${this.#blob.digest}" holds more than 4 TiB`;
        throw new AppError("resource_exhausted", problem);
      }
      yield piece;
    }
  }
}

/** Reads, decompresses and hashes in the thread that calls; as `OpenTar`. */
export async function openTarHere(blob: BlobSource, read: ReadElsewhere): Promise<TarStream> {
  const decoded = await DecodedBlob.open(blob, read);
  const hasher = new TarHasher();
  const iterator = decoded.pieces()[Symbol.asyncIterator]();
  const next = async () => {
    const result = await iterator.next();
    if (result.done !== true) hasher.update(result.value);
    return result;
  };
  return {
    pieces: () => ({ [Symbol.asyncIterator]: () => ({ next }) }),
    verify: () => decoded.verify(),
    facts: () => Promise.resolve(hasher.facts()),
    [Symbol.asyncDispose]: () => decoded[Symbol.asyncDispose](),
  };
}

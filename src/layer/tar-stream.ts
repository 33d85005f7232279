/**
 * The tar in a blob: a stream of bytes, read once and hashed while it goes by.
 *
 * @module
 */
import { ContentReader } from "../compress/decompress.ts";
import type { AppliedBlob } from "../snapshot/contract.ts";
import { KiB, TiB } from "../util/bytes.ts";
import { limitError } from "./tar-limits.ts";
import { BlobBytes, type BlobSource, type ReadElsewhere } from "./blob-bytes.ts";

/** What a small blob may become; no layer is near it, and a bomb ends there. */
const tarBytesMax = 4 * TiB;
const pieceBytes = 128 * KiB;

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

/** A blob that is decompressed and hashed, both as it is and what is in it. */
export class DecodedBlob implements AsyncDisposable {
  readonly #blob: BlobSource;
  readonly #bytes: BlobBytes;
  readonly #hasher = new Bun.CryptoHasher("sha256");
  #content: ContentReader | undefined;
  #sizeBytes = 0;

  private constructor(blob: BlobSource, bytes: BlobBytes) {
    this.#blob = blob;
    this.#bytes = bytes;
  }

  static async open(blob: BlobSource, read: ReadElsewhere): Promise<DecodedBlob> {
    return new DecodedBlob(blob, await BlobBytes.open(blob, read));
  }

  /** As `ContentReader.read`. */
  async read(target: Uint8Array): Promise<number> {
    this.#content ??= await ContentReader.open(this.#bytes.pieces());
    const count = await this.#content.read(target);
    this.#sizeBytes += count;
    if (this.#sizeBytes > tarBytesMax) {
      throw limitError(`Blob "${this.#blob.digest}" holds more than 4 TiB`);
    }
    this.#hasher.update(target.subarray(0, count));
    return count;
  }

  /** As of a `TarStream`. */
  verify(): Promise<void> {
    return this.#bytes.verify();
  }

  /** Of all that was read. To be asked once. */
  facts(): AppliedBlob {
    return { diffId: `sha256:${this.#hasher.digest("hex")}`, tarBytes: this.#sizeBytes };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#content?.[Symbol.dispose]();
    return this.#bytes[Symbol.asyncDispose]();
  }
}

/** Reads, decompresses and hashes in the thread that calls; as `OpenTar`. */
export async function openTarHere(blob: BlobSource, read: ReadElsewhere): Promise<TarStream> {
  const decoded = await DecodedBlob.open(blob, read);
  const buffer = new Uint8Array(pieceBytes);
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const count = await decoded.read(buffer);
    if (count === 0) return { done: true, value: undefined };
    return { done: false, value: buffer.subarray(0, count) };
  };
  return {
    pieces: () => ({ [Symbol.asyncIterator]: () => ({ next }) }),
    verify: () => decoded.verify(),
    facts: () => Promise.resolve(decoded.facts()),
    [Symbol.asyncDispose]: () => decoded[Symbol.asyncDispose](),
  };
}

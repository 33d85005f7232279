/**
 * Opens the tar in a blob in a thread of its own, so that decompressing and hashing the blob take
 * no time from what is done with the tar.
 *
 * This file and `decoder.ts` must lie in `src/` itself, as `workers.ts` says.
 *
 * @module
 */
import type { DecoderRequest } from "./decoder.ts";
import { AppError, describeError } from "./errors.ts";
import type { BlobSource, ReadElsewhere } from "./layer/blob-bytes.ts";
import type { FilledBuffer, SharedBytes } from "./layer/piece-ring.ts";
import { LocalTarStream, type TarStream } from "./layer/tar-stream.ts";
import type { AppliedBlob } from "./snapshot/contract.ts";
import { KiB, MiB } from "./util/bytes.ts";
import { ThreadChannel } from "./util/thread-channel.ts";

/** A smaller blob is decoded before a thread has started. */
const threadBytesMin = MiB;
/** Some stay filled while others are on the way: a message takes longer than a header. */
const buffersCount = 8;
const bufferBytes = 512 * KiB;

/** As `OpenTar`; a small blob is read in the thread that calls. */
export async function openTar(blob: BlobSource, read: ReadElsewhere): Promise<TarStream> {
  if (blob.sizeBytes < threadBytesMin) return LocalTarStream.open(blob, read);
  const stream = new DecoderThread(read);
  try {
    await stream.open(blob);
    return stream;
  } catch (error) {
    await stream[Symbol.asyncDispose]();
    throw error;
  }
}

class DecoderThread implements TarStream {
  readonly #worker: Worker;
  readonly #channel: ThreadChannel;
  readonly #buffers: readonly SharedBytes[];
  readonly #pieces: AsyncGenerator<Uint8Array, void>;

  constructor(read: ReadElsewhere) {
    this.#buffers = Array.from(
      { length: buffersCount },
      () => new Uint8Array(new SharedArrayBuffer(bufferBytes)),
    );
    this.#worker = new Worker(new URL("./decoder.ts", import.meta.url).href);
    this.#channel = new ThreadChannel((message) => this.#worker.postMessage(message), {
      read: (request: { offsetBytes: number; lengthBytes: number }) =>
        read(request.offsetBytes, request.lengthBytes),
    });
    this.#worker.addEventListener("message", (event: MessageEvent<unknown>) => {
      this.#channel.receive(event.data);
    });
    this.#worker.addEventListener("error", (event: ErrorEvent) => {
      const reason = event.message || describeError(event.error);
      this.#channel.close(new AppError("internal", `A decoder thread died: ${reason}`));
    });
    this.#pieces = this.#takeAll();
  }

  open(blob: BlobSource): Promise<void> {
    return this.#channel.call("open", { blob, buffers: this.#buffers } satisfies DecoderRequest);
  }

  pieces(): AsyncIterable<Uint8Array> {
    const next = () => this.#pieces.next();
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  verify(): Promise<void> {
    return this.#channel.call("verify");
  }

  facts(): Promise<AppliedBlob> {
    return this.#channel.call("facts");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#channel.call("close");
    } finally {
      this.#worker.terminate();
    }
  }

  async *#takeAll(): AsyncGenerator<Uint8Array, void> {
    const take = (returned?: number) =>
      this.#channel.call<FilledBuffer | undefined>("take", returned);
    let filled = await take();
    while (filled !== undefined) {
      yield this.#buffers[filled.index]!.subarray(0, filled.lengthBytes);
      filled = await take(filled.index);
    }
  }
}

/**
 * Opens the tar in a blob with a thread beside the one that calls: it reads, decompresses and
 * hashes, which costs about as much as taking the tar apart.
 *
 * This file and `decoder.ts` must lie in `src/` itself, as `workers.ts` says.
 *
 * @module
 */
import { AppError, describeError } from "./errors.ts";
import type { BlobSource, ReadElsewhere } from "./layer/blob-bytes.ts";
import { type FilledBuffer, PieceTaker, type SharedBytes } from "./layer/piece-ring.ts";
import { openTarHere, type TarStream } from "./layer/tar-stream.ts";
import type { AppliedBlob } from "./snapshot/contract.ts";
import { KiB, MiB } from "./util/bytes.ts";
import { type Handlers, ThreadChannel } from "./util/thread-channel.ts";

/** A smaller blob is decoded before a thread has started. */
const threadBytesMin = MiB;
/** Some stay filled while others are on the way: a message takes longer than a header. */
const buffersCount = 8;
const bufferBytes = 512 * KiB;

/** As `OpenTar`; a small blob is read in the thread that calls. */
export async function openTar(blob: BlobSource, read: ReadElsewhere): Promise<TarStream> {
  if (blob.sizeBytes < threadBytesMin) return openTarHere(blob, read);
  const stream = new ThreadedTarStream(read);
  try {
    await stream.open(blob);
    return stream;
  } catch (error) {
    await stream[Symbol.asyncDispose]();
    throw error;
  }
}

class DecoderThread {
  readonly #worker = new Worker(new URL("./decoder.ts", import.meta.url).href);
  readonly #channel: ThreadChannel;

  constructor(handlers: Handlers) {
    this.#channel = new ThreadChannel((message) => this.#worker.postMessage(message), handlers);
    this.#worker.addEventListener("message", (event: MessageEvent<unknown>) => {
      this.#channel.receive(event.data);
    });
    this.#worker.addEventListener("error", (event: ErrorEvent) => {
      const reason = event.message || describeError(event.error);
      this.#channel.close(new AppError("internal", `A decoder thread died: ${reason}`));
    });
  }

  call<Result>(name: string, argument?: unknown): Promise<Result> {
    return this.#channel.call<Result>(name, argument);
  }

  terminate(): void {
    this.#worker.terminate();
  }
}

class ThreadedTarStream implements TarStream {
  readonly #buffers: readonly SharedBytes[];
  readonly #taker: PieceTaker;
  readonly #decoder: DecoderThread;

  constructor(read: ReadElsewhere) {
    this.#buffers = Array.from(
      { length: buffersCount },
      () => new Uint8Array(new SharedArrayBuffer(bufferBytes)),
    );
    this.#taker = new PieceTaker(this.#buffers);
    this.#decoder = new DecoderThread({
      read: (request: { offsetBytes: number; lengthBytes: number }) =>
        read(request.offsetBytes, request.lengthBytes),
      take: (filled: FilledBuffer) => this.#taker.put(filled),
    });
  }

  async open(blob: BlobSource): Promise<void> {
    await this.#decoder.call("open", blob);
    this.#decoder.call("decode", this.#buffers).then(
      () => this.#taker.end(),
      (reason: unknown) => this.#taker.end({ reason }),
    );
  }

  pieces(): AsyncIterable<Uint8Array> {
    return this.#taker.pieces();
  }

  verify(): Promise<void> {
    return this.#decoder.call("verify");
  }

  facts(): Promise<AppliedBlob> {
    return this.#decoder.call("facts");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#decoder.call("close");
    } finally {
      this.#decoder.terminate();
    }
  }
}

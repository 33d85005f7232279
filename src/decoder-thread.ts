/**
 * Opens the tar in a blob with two threads beside the one that calls: one reads and decompresses,
 * one hashes what came out. Each of them and the taking apart of the tar cost about the same.
 *
 * This file and `decoder.ts` must lie in `src/` itself, as `workers.ts` says.
 *
 * @module
 */
import type { DecoderRequest } from "./decoder.ts";
import { AppError, describeError } from "./errors.ts";
import type { BlobSource, ReadElsewhere } from "./layer/blob-bytes.ts";
import type { FilledBuffer, SharedBytes } from "./layer/piece-ring.ts";
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
  readonly #decoder: DecoderThread;
  readonly #hasher: DecoderThread;
  readonly #pieces: AsyncGenerator<Uint8Array, void>;
  #hashFailure: { readonly reason: unknown } | undefined;

  constructor(read: ReadElsewhere) {
    this.#buffers = Array.from(
      { length: buffersCount },
      () => new Uint8Array(new SharedArrayBuffer(bufferBytes)),
    );
    this.#decoder = new DecoderThread({
      read: (request: { offsetBytes: number; lengthBytes: number }) =>
        read(request.offsetBytes, request.lengthBytes),
    });
    this.#hasher = new DecoderThread({});
    this.#pieces = this.#takeAll();
  }

  async open(blob: BlobSource): Promise<void> {
    await Promise.all([
      this.#decoder.call("decode", { blob, buffers: this.#buffers } satisfies DecoderRequest),
      this.#hasher.call("hash", this.#buffers),
    ]);
  }

  pieces(): AsyncIterable<Uint8Array> {
    const next = () => this.#pieces.next();
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  verify(): Promise<void> {
    return this.#decoder.call("verify");
  }

  facts(): Promise<AppliedBlob> {
    return this.#hasher.call("facts");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#decoder.call("close");
    } finally {
      this.#decoder.terminate();
      this.#hasher.terminate();
    }
  }

  /**
   * A message to another thread and back takes about as long as a buffer does. So all buffers are
   * asked for ahead, and each is hashed while the next ones are looked at.
   */
  async *#takeAll(): AsyncGenerator<Uint8Array, void> {
    const asked = this.#buffers.map(() => this.#take());
    for (let filled = await asked.shift(); filled !== undefined; filled = await asked.shift()) {
      asked.push(this.#take());
      const { index, lengthBytes } = filled;
      const hashed = this.#hash(filled);
      yield this.#buffers[index]!.subarray(0, lengthBytes);
      void hashed.then(() => this.#decoder.call("giveBack", index)).catch(() => undefined);
      if (this.#hashFailure !== undefined) throw this.#hashFailure.reason;
    }
  }

  #take(): Promise<FilledBuffer | undefined> {
    const taken = this.#decoder.call<FilledBuffer | undefined>("take");
    // Nobody may come for it: then nothing depends on it either.
    taken.catch(() => undefined);
    return taken;
  }

  /** Resolves when the buffer is hashed, or never will be. */
  async #hash(filled: FilledBuffer): Promise<void> {
    try {
      await this.#hasher.call("update", filled);
    } catch (reason) {
      this.#hashFailure ??= { reason };
    }
  }
}

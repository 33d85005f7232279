/**
 * Bodies of answers: never larger than expected, never slower than can be borne.
 *
 * The runtime reports a body that ends before its Content-Length, or without its last chunk, as
 * ECONNRESET, and stops reading from the network while nobody reads from it.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import { discardBytesMax, type RegistryLimits } from "./limits.ts";
import { RegistryError, type Subject } from "./registry-error.ts";
import { fetchError } from "./fetch-error.ts";

export interface BodyContext {
  readonly subject: Subject;
  readonly clock: Clock;
  readonly limits: RegistryLimits;
  /** Ends the connection. */
  readonly abort: AbortController;
  /** Called once, when nothing of the body is read any more. */
  readonly onEnd: () => void;
}

/** The types of Bun know one kind of reader here, those of the streams another. */
interface PieceReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
}

/** One body, which is read once: by pieces, whole, or not at all. */
export class Body {
  readonly #stream: ReadableStream<Uint8Array> | null;
  readonly #context: BodyContext;
  #windowWaitedMs = 0;
  #windowBytes = 0;

  constructor(stream: ReadableStream<Uint8Array> | null, context: BodyContext) {
    this.#stream = stream;
    this.#context = context;
    if (stream === null) context.onEnd();
  }

  /** Who stops early closes the connection. */
  async *pieces(): AsyncGenerator<Uint8Array, void> {
    if (this.#stream === null) return;
    const { abort, onEnd, subject } = this.#context;
    const reader = this.#stream.getReader();
    let isComplete = false;
    try {
      for (;;) {
        const piece = await this.#next(reader);
        if (piece === undefined) break;
        if (piece.length > 0) yield piece;
      }
      isComplete = true;
    } catch (error) {
      throw fetchError(error, subject, abort.signal);
    } finally {
      if (!isComplete) abort.abort();
      onEnd();
    }
  }

  /** The whole body; rejects with `failed_precondition` where it is larger. */
  async bytes(sizeBytesMax: number): Promise<Uint8Array> {
    const { bytes, isWhole } = await this.#read(sizeBytesMax);
    if (isWhole) return bytes;
    const problem = `sent more than the ${sizeBytesMax} bytes that are taken`;
    throw new RegistryError("failed_precondition", this.#context.subject, problem);
  }

  /** The beginning of a text that explains an error; empty where it cannot be read. */
  async text(sizeBytesMax: number): Promise<string> {
    try {
      const { bytes } = await this.#read(sizeBytesMax);
      return new TextDecoder().decode(bytes);
    } catch {
      return "";
    }
  }

  /** Keeps the connection for the next request where that costs little, else closes it. */
  async discard(): Promise<void> {
    await this.text(discardBytesMax);
  }

  async #read(sizeBytesMax: number): Promise<{ bytes: Uint8Array; isWhole: boolean }> {
    const parts: Uint8Array[] = [];
    let sizeBytes = 0;
    for await (const piece of this.pieces()) {
      parts.push(piece);
      sizeBytes += piece.length;
      if (sizeBytes > sizeBytesMax) break;
    }
    const bytes = Buffer.concat(parts).subarray(0, sizeBytesMax);
    return { bytes, isWhole: sizeBytes <= sizeBytesMax };
  }

  /** The time that passes here is the server's; what the consumer takes between calls is not. */
  async #next(reader: PieceReader): Promise<Uint8Array | undefined> {
    const { clock, limits, abort } = this.#context;
    const startMs = clock.nowMs();
    const cancel = clock.after(limits.idleTimeoutMs, () =>
      abort.abort(this.#tooSlow(`sent nothing for ${limits.idleTimeoutMs} ms`)),
    );
    try {
      const { done, value } = await reader.read();
      if (done || value === undefined) return undefined;
      this.#checkRate(clock.nowMs() - startMs, value.length);
      return value;
    } finally {
      cancel();
    }
  }

  #checkRate(waitedMs: number, sizeBytes: number): void {
    const { rateWindowMs, rateBytesMin } = this.#context.limits;
    this.#windowWaitedMs += waitedMs;
    this.#windowBytes += sizeBytes;
    if (this.#windowWaitedMs < rateWindowMs) return;
    if (this.#windowBytes < rateBytesMin) {
      throw this.#tooSlow(`sent ${this.#windowBytes} bytes in ${rateWindowMs} ms`);
    }
    this.#windowWaitedMs = 0;
    this.#windowBytes = 0;
  }

  #tooSlow(problem: string): RegistryError {
    return new RegistryError("unavailable", this.#context.subject, problem);
  }
}

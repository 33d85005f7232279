/**
 * Carries a stream of bytes from one thread to another in a few shared buffers: the one fills them
 * ahead, the other empties them in the same order and gives each back. Nothing is allocated on the
 * way, and memory is bounded by the buffers.
 *
 * @module
 */

export type SharedBytes = Uint8Array<SharedArrayBuffer>;

/** A buffer by its number, and how much of it is filled. */
export interface FilledBuffer {
  readonly index: number;
  readonly lengthBytes: number;
}

/** The side that fills. */
export class PieceFiller {
  readonly #buffers: readonly SharedBytes[];
  readonly #handOver: (filled: FilledBuffer) => Promise<void>;
  readonly #free: number[];
  #isStopped = false;
  #running: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;

  /** @param handOver resolves when the buffer can be filled again */
  constructor(buffers: readonly SharedBytes[], handOver: (filled: FilledBuffer) => Promise<void>) {
    this.#buffers = buffers;
    this.#handOver = handOver;
    this.#free = buffers.map((_, index) => index);
  }

  /**
   * To be called once. Resolves when all is handed over, or it was stopped.
   *
   * @param read fills a buffer; the number of bytes, 0 at the end
   */
  fill(read: (target: Uint8Array) => Promise<number>): Promise<void> {
    const filling = this.#fill(read);
    this.#running = filling.catch(() => undefined);
    return filling;
  }

  /** Ends the reading of the stream, at a border of pieces; never rejects. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake?.();
    await this.#running;
  }

  async #fill(read: (target: Uint8Array) => Promise<number>): Promise<void> {
    for (;;) {
      const index = await this.#takeFree();
      if (index === undefined) return;
      const lengthBytes = await read(this.#buffers[index]!);
      if (lengthBytes === 0) return;
      void this.#handOver({ index, lengthBytes }).then(() => this.#giveBack(index));
    }
  }

  #giveBack(index: number): void {
    this.#free.push(index);
    this.#wake?.();
  }

  /** Undefined once the reading was stopped. */
  async #takeFree(): Promise<number | undefined> {
    while (!this.#isStopped) {
      const index = this.#free.shift();
      if (index !== undefined) return index;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return undefined;
  }
}

/** The side that empties. */
export class PieceTaker {
  readonly #buffers: readonly SharedBytes[];
  readonly #filled: { readonly piece: Uint8Array; readonly giveBack: () => void }[] = [];
  readonly #pieces: AsyncGenerator<Uint8Array, void>;
  #end: { readonly failure?: { readonly reason: unknown } } | undefined;
  #wake: (() => void) | undefined;

  constructor(buffers: readonly SharedBytes[]) {
    this.#buffers = buffers;
    this.#pieces = this.#takeAll();
  }

  /** Takes what was handed over; resolves when it can be filled again. */
  put({ index, lengthBytes }: FilledBuffer): Promise<void> {
    return new Promise((giveBack) => {
      this.#filled.push({ piece: this.#buffers[index]!.subarray(0, lengthBytes), giveBack });
      this.#wake?.();
    });
  }

  /** Nothing is handed over any more; the failure comes behind all that was. */
  end(failure?: { readonly reason: unknown }): void {
    this.#end = failure === undefined ? {} : { failure };
    this.#wake?.();
  }

  /** The same at each call. A piece stays as it is until the next one is asked for. */
  pieces(): AsyncIterable<Uint8Array> {
    const next = () => this.#pieces.next();
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }

  async *#takeAll(): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const filled = this.#filled.shift();
      if (filled !== undefined) {
        yield filled.piece;
        filled.giveBack();
        continue;
      }
      if (this.#end?.failure !== undefined) throw this.#end.failure.reason;
      if (this.#end !== undefined) return;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

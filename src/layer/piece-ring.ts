/**
 * Carries a stream of bytes from one thread to another in a few shared buffers: the one fills them
 * ahead, the other empties them in the same order and gives each back. Nothing is allocated on the
 * way, and memory is bounded by the buffers.
 *
 * @module
 */

import { freeBytes } from "../util/free-bytes.ts";
import { noteWork } from "../util/garbage.ts";

export type SharedBytes = Uint8Array<SharedArrayBuffer>;

/** A buffer by its number, and how much of it is filled. */
export interface FilledBuffer {
  readonly index: number;
  readonly lengthBytes: number;
}

interface Taker {
  resolve(filled: FilledBuffer | undefined): void;
  reject(reason: unknown): void;
}

/** The side that fills. */
export class PieceFiller {
  readonly #buffers: readonly SharedBytes[];
  readonly #free: number[];
  readonly #filled: FilledBuffer[] = [];
  readonly #ended: Promise<void>;
  #hasEnded = false;
  #isStopped = false;
  #failure: { readonly reason: unknown } | undefined;
  #wakeFiller: (() => void) | undefined;
  /** Who asked for buffers that are not filled yet. */
  readonly #takers: Taker[] = [];

  /** Starts to fill at once. */
  constructor(pieces: AsyncIterable<Uint8Array>, buffers: readonly SharedBytes[]) {
    this.#buffers = buffers;
    this.#free = buffers.map((_, index) => index);
    this.#ended = this.#fill(pieces);
  }

  /**
   * The next filled buffer, undefined at the end; rejects with the error of the stream once all
   * before it was taken. May be called ahead: who comes first gets the first.
   */
  take(): Promise<FilledBuffer | undefined> {
    return new Promise((resolve, reject) => {
      this.#takers.push({ resolve, reject });
      this.#serve();
    });
  }

  /** A buffer that was taken can be filled again. */
  giveBack(index: number): void {
    this.#free.push(index);
    this.#wakeFiller?.();
  }

  /** Ends the reading of the stream, at a border of pieces; never rejects. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wakeFiller?.();
    await this.#ended;
  }

  async #fill(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      await this.#copyAll(pieces);
    } catch (error) {
      this.#failure = { reason: error };
    }
    this.#hasEnded = true;
    this.#serve();
  }

  #serve(): void {
    while (this.#filled.length > 0 || this.#hasEnded) {
      const taker = this.#takers.shift();
      if (taker === undefined) return;
      const filled = this.#filled.shift();
      if (filled !== undefined || this.#failure === undefined) taker.resolve(filled);
      else taker.reject(this.#failure.reason);
    }
  }

  async #copyAll(pieces: AsyncIterable<Uint8Array>): Promise<void> {
    let index: number | undefined;
    let end = 0;
    for await (const piece of pieces) {
      for (let at = 0; at < piece.length;) {
        index ??= await this.#takeFree();
        if (index === undefined) return;
        const buffer = this.#buffers[index]!;
        const count = Math.min(piece.length - at, buffer.length - end);
        buffer.set(piece.subarray(at, at + count), end);
        at += count;
        end += count;
        if (end < buffer.length) continue;
        this.#handOver(index, end);
        index = undefined;
        end = 0;
      }
      freeBytes(piece);
    }
    if (index !== undefined) this.#handOver(index, end);
  }

  #handOver(index: number, lengthBytes: number): void {
    this.#filled.push({ index, lengthBytes });
    this.#serve();
    noteWork();
  }

  /** Undefined once the reading was stopped. */
  async #takeFree(): Promise<number | undefined> {
    while (!this.#isStopped) {
      const index = this.#free.shift();
      if (index !== undefined) return index;
      await new Promise<void>((resolve) => (this.#wakeFiller = resolve));
    }
    return undefined;
  }
}

/**
 * A file that somebody else still writes to, front to back: waits until as much as is wanted of it
 * is there.
 *
 * @module
 */
import { fstatSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { AppError } from "../errors.ts";
import { type CancelFlag, isCancelled } from "../util/cancel-flag.ts";

/** How often the file is looked at: at first as often as a fast network fills a piece. */
const waitMsMin = 1;
const waitMsMax = 32;
/** A download that stands still for so long is not waited for. */
const stallMs = 10_000;

export interface GrowthLimits {
  /** Set when the file grows no more, or nobody waits for it. */
  readonly isOver: CancelFlag;
  readonly stallMs?: number;
}

export class GrowingFile {
  readonly #descriptor: number;
  readonly #isOver: CancelFlag;
  readonly #stallMs: number;
  #sizeBytes = 0;

  constructor(descriptor: number, { isOver, stallMs: limitMs = stallMs }: GrowthLimits) {
    this.#descriptor = descriptor;
    this.#isOver = isOver;
    this.#stallMs = limitMs;
  }

  /**
   * Resolves when the file has at least this size; what it has can be read, even if it was removed.
   * Rejects with `cancelled` once no more can be expected.
   */
  async reach(sizeBytes: number): Promise<void> {
    let grownMs = performance.now();
    for (let waitMs = waitMsMin; this.#sizeBytes < sizeBytes; waitMs *= 2) {
      const { size, nlink } = fstatSync(this.#descriptor);
      if (size < this.#sizeBytes) throw downloadEnded("begins anew");
      if (size > this.#sizeBytes) grownMs = performance.now();
      this.#sizeBytes = size;
      if (size >= sizeBytes) return;
      if (nlink === 0) throw downloadEnded("was given up");
      if (isCancelled(this.#isOver)) throw downloadEnded("is not waited for any more");
      if (performance.now() - grownMs > this.#stallMs) throw downloadEnded("stands still");
      await sleep(Math.min(waitMs, waitMsMax));
    }
  }
}

export function downloadEnded(problem: string): AppError {
  return new AppError("cancelled", `The download ${problem}`);
}

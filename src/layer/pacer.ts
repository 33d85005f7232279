/**
 * Holds work in the background to a rate, and lets conversions go first.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { AppError } from "../errors.ts";

/** How often it is looked whether conversions have ended. */
const busyPollMs = 200;

export interface PacerOptions {
  readonly bytesPerSecond: number;
  /** Whether there is work that should not be disturbed. */
  readonly isBusy: () => boolean;
}

export class Pacer {
  readonly #options: PacerOptions;
  #cancellation = new AbortController();
  /** When what was done so far has taken the time it may take. */
  #freeAtMs = 0;

  constructor(options: PacerOptions) {
    this.#options = options;
  }

  /** Resolves when the next piece of work may begin; rejects with `cancelled`. */
  async pace(doneBytes: number): Promise<void> {
    const { bytesPerSecond, isBusy } = this.#options;
    const nowMs = performance.now();
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (doneBytes / bytesPerSecond) * 1000;
    await this.#wait(this.#freeAtMs - nowMs);
    while (isBusy()) await this.#wait(busyPollMs);
  }

  /** Ends what is going on, and all that comes until `reset`. */
  cancel(): void {
    this.#cancellation.abort();
  }

  reset(): void {
    this.#cancellation = new AbortController();
  }

  async #wait(durationMs: number): Promise<void> {
    const { signal } = this.#cancellation;
    try {
      await sleep(durationMs, undefined, { signal, ref: false });
    } catch (cause) {
      throw new AppError("cancelled", "Work in the background was cancelled", { cause });
    }
  }
}

/**
 * Time that passes only when a test says so.
 *
 * @module
 */
import type { Clock } from "../../src/registry/clock.ts";

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

export class FakeClock implements Clock {
  readonly #timers = new Set<Timer>();
  readonly #skipsPauses: (delayMs: number) => boolean;
  #nowMs = 0;
  /** The delays that were skipped, in ms. */
  readonly skipped: number[] = [];

  /** @param skips which delays end at once: those of pauses, but not those of time-outs */
  constructor(skips: (delayMs: number) => boolean = () => false) {
    this.#skipsPauses = skips;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    if (this.#skipsPauses(delayMs)) {
      this.skipped.push(delayMs);
      this.#nowMs += delayMs;
      queueMicrotask(callback);
      return () => undefined;
    }
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Of every pause, three quarters. */
  random(): number {
    return 0.5;
  }

  /** Lets time pass, and calls back who waited for it. */
  advance(byMs: number): void {
    this.#nowMs += byMs;
    for (const timer of this.#timers) {
      if (timer.atMs > this.#nowMs || !this.#timers.delete(timer)) continue;
      timer.callback();
    }
  }
}

/**
 * When to kill: at random within the time that the work takes on this machine, as it is loaded now.
 */
import type { Picker } from "./picker.ts";

const step = 1.3;

export class KillDelay {
  readonly #picker: Picker;
  #maxMs: number;

  /** @param maxMs what is tried first */
  constructor(picker: Picker, maxMs: number) {
    this.#picker = picker;
    this.#maxMs = maxMs;
  }

  pickMs(): number {
    return this.#picker.integer(Math.max(1, Math.round(this.#maxMs)));
  }

  /** Kills come later after one that came before the end of the work, and earlier otherwise. */
  learn(wasEarly: boolean): void {
    this.#maxMs *= wasEarly ? step : 1 / step;
  }
}

/** A machine that is too slow for all kills in this time stops after half of them. */
const patienceMs = 120_000;

/** The rounds of a test, from 1: as many as there are kills, or as a slow machine has time for. */
export function* roundsOf(kills: number): Generator<number> {
  const endMs = performance.now() + patienceMs;
  for (let round = 1; round <= kills; round++) {
    if (round > kills / 2 && performance.now() > endMs) {
      console.info(`The time is up after ${round - 1} of ${kills} kills`);
      return;
    }
    yield round;
  }
}

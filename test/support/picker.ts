/** Choices that are the same in every run with the same seed. */
import { randomBytes } from "./random.ts";

export class Picker {
  readonly #seed: string;
  #count = 0;

  constructor(seed: string) {
    this.#seed = seed;
  }

  /** An integer from 0 up to, not including, `limit`. */
  integer(limit: number): number {
    this.#count += 1;
    return randomBytes(`${this.#seed} ${this.#count}`, 4).readUInt32LE() % limit;
  }

  oneOf<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.integer(items.length)];
  }

  /** The same items in another order. */
  shuffled<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = this.integer(last + 1);
      [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
    }
    return shuffled;
  }
}

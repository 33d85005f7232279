/** Locks by name for one event loop: first come, first served; free again after a failure. */

const nothing = (): undefined => undefined;

export class KeyedMutex {
  /** Per locked name, the end of the last task that was given; never rejects. */
  readonly #tails = new Map<string, Promise<unknown>>();

  /**
   * Runs `task` when all tasks given before for any of `keys` have ended; resolves or rejects as it
   * does. All keys are queued for in one step, so callers cannot wait for each other in a ring.
   */
  run<T>(keys: readonly string[], task: () => Promise<T> | T): Promise<T> {
    const before = keys.flatMap((key) => this.#tails.get(key) ?? []);
    const result = Promise.all(before).then(task);
    const tail: Promise<void> = result
      .then(nothing, nothing)
      .then((): void => this.#forget(keys, tail));
    for (const key of keys) this.#tails.set(key, tail);
    return result;
  }

  /** Drops the names that nobody has queued for since. */
  #forget(keys: readonly string[], tail: Promise<unknown>): void {
    for (const key of keys) {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }

  /** How many names are locked. */
  get size(): number {
    return this.#tails.size;
  }
}

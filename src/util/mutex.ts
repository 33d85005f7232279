/** A lock for one event loop: first come, first served; the lock is free again after a failure. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  /** Runs `task` when all tasks given before have ended; resolves or rejects as it does. */
  run<T>(task: () => Promise<T> | T): Promise<T> {
    const result = this.#tail.then(task);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

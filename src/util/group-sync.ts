/**
 * One sync for many waiters ("group commit").
 *
 * A sync covers only what was written before it started, so whoever asks while one is under way
 * waits for the next one, which all who ask meanwhile share.
 *
 * After a failed sync the kernel may have dropped the dirty pages and marked them clean: a second
 * try would succeed without the data being on disk. So the first failure is final.
 *
 * @module
 */
export class GroupSync {
  readonly #sync: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #failure: { readonly reason: unknown } | undefined;

  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** What the first failure was; every later `run` rejects with it. */
  get failure(): { readonly reason: unknown } | undefined {
    return this.#failure;
  }

  /** Resolves when everything written before the call is synced. */
  run(): Promise<void> {
    this.#next ??= this.#afterRunning();
    return this.#next;
  }

  async #afterRunning(): Promise<void> {
    // A failure of the running one is in `#failure` by then.
    await this.#running?.catch(() => undefined);
    this.#running = this.#next;
    this.#next = undefined;
    if (this.#failure !== undefined) throw this.#failure.reason;
    try {
      await this.#sync();
    } catch (error) {
      this.#failure = { reason: error };
      throw error;
    }
  }
}

/**
 * Time, as far as the client looks at it: replaced in tests, so that they need not wait.
 *
 * @module
 */

export interface Clock {
  /** Milliseconds since anything; never goes back. */
  nowMs(): number;
  /** Calls back once; the result takes the call back. */
  after(delayMs: number, callback: () => void): () => void;
  /** From 0 to below 1: jitter. */
  random(): number;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** Resolves after the time, or at once when the signal is aborted. */
export function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const end = () => {
      cancel();
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.after(delayMs, end);
    signal?.addEventListener("abort", end);
  });
}

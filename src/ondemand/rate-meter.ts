/**
 * How fast something comes: a mean in which the last half minute counts most.
 *
 * @module
 */

const memoryMs = 30_000;

export class RateMeter {
  #startMs: number | undefined;
  #lastMs = 0;
  /** Of which older ones count less. */
  #bytes = 0;

  note(bytes: number, nowMs: number): void {
    this.#startMs ??= nowMs;
    this.#bytes = this.#bytes * decay(nowMs - this.#lastMs) + bytes;
    this.#lastMs = nowMs;
  }

  /** 0 where nothing came yet. */
  bytesPerSecond(nowMs: number): number {
    if (this.#startMs === undefined) return 0;
    // As long as there is less to remember than the memory has room for.
    const isRemembered = 1 - decay(Math.max(1_000, nowMs - this.#startMs));
    const bytes = this.#bytes * decay(nowMs - this.#lastMs);
    return (bytes * 1000) / (memoryMs * isRemembered);
  }
}

function decay(durationMs: number): number {
  return Math.exp(-durationMs / memoryMs);
}

/**
 * Tells another thread that nobody waits for its work any more. A message would not do: a thread
 * that is busy with streams may get to its messages only seconds later (Bun 1.4.5).
 *
 * @module
 */

export type CancelFlag = Int32Array<SharedArrayBuffer>;

/** To be posted to the thread. */
export function makeCancelFlag(): CancelFlag {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

export function cancel(flag: CancelFlag): void {
  Atomics.store(flag, 0, 1);
}

export function isCancelled(flag: CancelFlag): boolean {
  return Atomics.load(flag, 0) !== 0;
}

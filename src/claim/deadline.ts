/** Waiting for no longer than somebody else waits. */

/**
 * Resolves or rejects as the promise does, if that is before the signal is aborted; else rejects
 * with `failure`.
 *
 * @param onLate what becomes of a result for which nobody waits any more
 */
export async function beforeDeadline<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  failure: Error,
  onLate: (result: T) => void,
): Promise<T> {
  const { promise: deadline, reject } = Promise.withResolvers<never>();
  const giveUp = (): void => reject(failure);
  signal.addEventListener("abort", giveUp, { once: true });
  if (signal.aborted) giveUp();
  try {
    return await Promise.race([promise, deadline]);
  } catch (error) {
    if (error === failure) promise.then(onLate, () => undefined);
    throw error;
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

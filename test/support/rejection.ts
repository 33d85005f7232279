/**
 * What a promise rejects with.
 *
 * `expect(promise).rejects` of Bun is typed as if there were nothing to await, which the linter
 * then forbids.
 */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("The promise did not reject");
}

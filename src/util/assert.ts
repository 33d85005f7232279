/** Assertions: a broken program stops; a broken world gets a typed error instead. */

export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The value, which the program knows to be there. */
export function defined<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new AssertionError(`${what} is missing`);
  return value;
}

export function unreachable(value: never): never {
  throw new AssertionError(`unexpected value ${String(value)}`);
}

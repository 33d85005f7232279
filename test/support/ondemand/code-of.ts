/** The class of error that a function throws; undefined where it returns. */
import { AppError } from "../../../src/errors.ts";

export function codeOf(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}

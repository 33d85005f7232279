/** What names and labels may be; checked before anything is stored. */
import { AppError } from "../errors.ts";
import type { Labels } from "./contract.ts";

/** The longest key bbolt takes (MaxKeySize), where containerd keeps the same names. */
export const nameBytesMax = 32_768;
/** containerd's limit for a label, key and value together (pkg/labels/validate.go). */
export const labelBytesMax = 4096;
const shownKeyLengthMax = 64;

/** @param what names the argument in the message, as in "key" */
export function checkName(name: string, what: string): void {
  if (name === "") throw new AppError("invalid_argument", `The ${what} of a snapshot is empty`);
  if (name.includes("\0")) {
    throw new AppError("invalid_argument", `The ${what} ${JSON.stringify(name)} has a NUL`);
  }
  const bytes = Buffer.byteLength(name);
  if (bytes > nameBytesMax) {
    const problem = `The ${what} of a snapshot has ${bytes} bytes, more than ${nameBytesMax}`;
    throw new AppError("invalid_argument", problem);
  }
}

export function checkLabels(labels: Labels): void {
  for (const [key, value] of labels) {
    const bytes = Buffer.byteLength(key) + Buffer.byteLength(value);
    if (bytes <= labelBytesMax) continue;
    const shown = JSON.stringify(key.slice(0, shownKeyLengthMax));
    const problem = `Label ${shown} has ${bytes} bytes, more than ${labelBytesMax}`;
    throw new AppError("invalid_argument", problem);
  }
}

/**
 * A Unix socket that one process has at a time.
 *
 * Whoever finds a process missing starts it, so two may start at once. A socket alone does not
 * decide between them: each finds the path stale, unlinks it and binds its own. A lock on a file
 * beside it does, and a killed process leaves none behind.
 *
 * @module
 */
import { lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { openFlag } from "../../ffi/constants.ts";
import { close, open, tryLockExclusive } from "../../ffi/file.ts";
import { AppError } from "../errors.ts";

/** `sun_path` has 108 bytes with the NUL at the end (include/uapi/linux/un.h). */
const socketPathBytesMax = 107;

/**
 * Makes the path free for bind(2), for as long as the result is not disposed; undefined where
 * another process has it.
 *
 * @throws AppError `invalid_argument` for a path too long, `failed_precondition` where something
 *   that is no socket is in the way
 */
export function takeSocketPath(path: string): Disposable | undefined {
  if (Buffer.byteLength(path) > socketPathBytesMax) {
    const problem = `Socket path "${path}" has more than ${socketPathBytesMax} bytes`;
    throw new AppError("invalid_argument", problem, { remedy: 'set a shorter "address"' });
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  const lock = open(`${path}.lock`, openFlag.readWrite | openFlag.create);
  try {
    if (!tryLockExclusive(lock)) {
      close(lock);
      return undefined;
    }
    removeStaleSocket(path);
  } catch (error) {
    close(lock);
    throw error;
  }
  return { [Symbol.dispose]: () => close(lock) };
}

function removeStaleSocket(path: string): void {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isSocket()) {
    throw new AppError("failed_precondition", `"${path}" is there and is no socket`);
  }
  unlinkSync(path);
}

/**
 * The lock on a root: one daemon, or one repair, at a time.
 *
 * flock belongs to the open file, so a killed process leaves no lock behind.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { openFlag } from "../../ffi/constants.ts";
import { close, open, tryLockExclusive } from "../../ffi/file.ts";
import type { StorePaths } from "./paths.ts";

/** Makes the root where it is missing; undefined where another process holds the lock. */
export function tryLockRoot(paths: StorePaths): Disposable | undefined {
  // 0700: layers hold what image authors and containers put there, setuid files among it.
  mkdirSync(paths.root, { recursive: true, mode: 0o700 });
  const file = open(paths.lock, openFlag.readWrite | openFlag.create);
  if (tryLockExclusive(file)) return { [Symbol.dispose]: () => close(file) };
  close(file);
  return undefined;
}

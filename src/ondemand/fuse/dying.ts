/**
 * Whether a thread is being killed.
 *
 * FUSE tells of any signal a reader gets, but a read of a file may fail with EINTR only for one
 * that ends the process: EROFS and programs take it for a damaged disk otherwise.
 *
 * @module
 */
import { readFileSync } from "node:fs";

/** SIGKILL is 9; the masks count from bit 0. */
const killBit = 1n << 8n;

/**
 * True for a thread with SIGKILL pending, which the kernel makes of every signal that ends a
 * process (complete_signal() in kernel/signal.c), and for one that is gone or not visible.
 */
export function isDying(pid: number): boolean {
  if (pid === 0) return true;
  const status = readStatus(pid);
  const mask = /^SigPnd:\s*([0-9a-f]+)$/m.exec(status ?? "")?.[1];
  return mask === undefined || (BigInt(`0x${mask}`) & killBit) !== 0n;
}

function readStatus(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    return undefined;
  }
}

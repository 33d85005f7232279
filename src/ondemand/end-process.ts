/** The end of a process that need not be a child of this one. */
import { readFileSync } from "node:fs";

const pollIntervalMs = 10;

/**
 * SIGTERM, and SIGKILL if that is not enough; resolves when the process is gone.
 *
 * @param graceMs between the two; 0: SIGKILL at once
 */
export async function endProcess(pid: number, graceMs: number): Promise<void> {
  if (graceMs > 0) {
    if (!signal(pid, "SIGTERM")) return;
    const endMs = performance.now() + graceMs;
    while (performance.now() < endMs) {
      await Bun.sleep(pollIntervalMs);
      if (!isThere(pid)) return;
    }
  }
  while (isThere(pid) && signal(pid, "SIGKILL")) await Bun.sleep(pollIntervalMs);
}

/**
 * False also for a process that nobody has asked for its exit code, which takes signals for as long
 * as its parent lives: proc_pid_stat(5).
 */
function isThere(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

/** False where there is no such process any more. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}

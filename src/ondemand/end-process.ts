/** The end of a process that need not be a child of this one. */

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
      if (!signal(pid, 0)) return;
    }
  }
  while (signal(pid, "SIGKILL")) await Bun.sleep(pollIntervalMs);
}

/** False where there is no such process any more. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}

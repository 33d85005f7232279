/**
 * A run that leaves nothing behind, however it ends.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { releaseBelow } from "./leftovers.ts";
import { killAllGroups } from "./process.ts";
import { makeScratchBase } from "./temp.ts";

/**
 * Runs a task with a scratch folder; afterwards, also after a signal, no process, mount or file of
 * it is left.
 */
export async function runInScratch<T>(task: (scratch: string) => Promise<T>): Promise<T> {
  const scratch = makeScratchBase();
  const cleanUp = async () => {
    killAllGroups();
    await releaseBelow(scratch);
    rmSync(scratch, { recursive: true, force: true });
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => void cleanUp().finally(() => process.exit(1)));
  }
  try {
    return await task(scratch);
  } finally {
    await cleanUp();
  }
}

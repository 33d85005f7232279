/** The processes that outlive `serve`, at the end of a test. */
import { processesBelow } from "../../../scripts/lib/leftovers.ts";
import { endProcess } from "../../../src/ondemand/end-process.ts";

const outliving = / (?:dedupd|keeper)(?: |$)/;

/** Those of the daemon that lives in the folder. */
export function onDemandProcesses(folder: string): number[] {
  return processesBelow(folder)
    .filter(({ commandLine }) => outliving.test(commandLine))
    .map(({ pid }) => pid);
}

/**
 * Ends dedupd and the keeper of the daemon that lived in the folder and is not running any more;
 * resolves when they are gone, and the channels with them.
 */
export async function endOnDemandProcesses(folder: string): Promise<void> {
  // Each starts the other again, so that one look does not do.
  for (let pids = onDemandProcesses(folder); pids.length > 0; pids = onDemandProcesses(folder)) {
    await Promise.all(pids.map((pid) => endProcess(pid, 0)));
  }
}

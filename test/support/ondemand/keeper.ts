/** A client of the keeper, which starts one where there is none. */
import { createLogger } from "../../../src/log.ts";
import { endProcess } from "../../../src/ondemand/end-process.ts";
import { KeeperClient } from "../../../src/ondemand/keeper-client.ts";
import { type DetachedProcess, startKeeper } from "../../../src/ondemand/own-process.ts";

const started = new Map<DetachedProcess, Promise<void>>();

export function openKeeperClient(socketPath: string): KeeperClient {
  const log = createLogger("silent");
  const start = () => {
    const child = startKeeper(socketPath);
    started.set(
      child,
      child.exited.then(() => void started.delete(child)),
    );
  };
  return new KeeperClient({ socketPath, start, expected: [], log });
}

/** Ends those that such clients have started; also one that was late, and found another one. */
export async function endStartedKeepers(): Promise<void> {
  for (const [{ pid }, exited] of started) {
    await endProcess(pid, 0);
    await exited;
  }
}

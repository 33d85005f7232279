/** A keeper for tests, in a process of its own: `bun keeper-process.ts SOCKET`. */
import { projectFolder } from "../../../scripts/lib/project.ts";
import { createLogger } from "../../../src/log.ts";
import { KeeperClient } from "../../../src/ondemand/keeper-client.ts";
import { runKeeper } from "../../../src/ondemand/keeper.ts";

const script = `${projectFolder}/test/support/ondemand/keeper-process.ts`;

/** A client that starts the keeper where it is missing. */
export function connectKeeper(socketPath: string): KeeperClient {
  const start = () =>
    Bun.spawn([process.execPath, script, socketPath], { stdio: ["ignore", "ignore", "inherit"] });
  return new KeeperClient({ socketPath, start: () => void start(), log: createLogger("silent") });
}

if (import.meta.main) runKeeper(process.argv[2] ?? "");

/** A supervisor with the stand-in for dedupd, in the process of a test or in one of its own. */
import { join } from "node:path";
import { createLogger } from "../../../src/log.ts";
import { expectedVariable } from "../../../src/ondemand/channel-keeper.ts";
import { ControlClient } from "../../../src/ondemand/control-client.ts";
import { generationVariable } from "../../../src/ondemand/generation.ts";
import { shutdownKeeper } from "../../../src/ondemand/keeper-connection.ts";
import { startDetached } from "../../../src/ondemand/own-process.ts";
import { socketPaths } from "../../../src/ondemand/sockets.ts";
import { Supervisor } from "../../../src/ondemand/supervisor.ts";
import { openKeeperClient } from "./keeper.ts";

export interface SupervisionOptions {
  /** Of `serve`; the others' are beside it. */
  readonly address: string;
  readonly fifo: string;
  readonly generation?: string;
  /** How many packs are exposed. */
  readonly packs?: number;
}

export function openTestSupervisor(options: SupervisionOptions): Supervisor {
  const { address, fifo, generation = "first", packs = 1 } = options;
  const { dedupd, keeper } = socketPaths(address);
  const script = join(import.meta.dir, "stand-in-dedupd.ts");
  const command = [process.execPath, script, dedupd, keeper, fifo, String(packs)];
  return new Supervisor({
    control: new ControlClient(dedupd),
    generation,
    startDedupd: (channels) =>
      startDetached(command, {
        hasLog: true,
        environment: {
          [generationVariable]: generation,
          [expectedVariable]: channels.join(","),
        },
      }),
    openKeeper: () => openKeeperClient(keeper),
    endKeeper: () => shutdownKeeper(keeper),
    hasExposed: () => packs > 0,
    log: createLogger("silent"),
  });
}

if (import.meta.main) {
  const [address = "", fifo = ""] = process.argv.slice(2);
  openTestSupervisor({ address, fifo }).start();
}

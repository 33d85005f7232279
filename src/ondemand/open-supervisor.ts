/** The supervisor of `serve`, with the real processes behind it. */
import type { Config } from "../config/schema.ts";
import { exposedPacks } from "../store/exposed-packs.ts";
import { storePaths } from "../store/paths.ts";
import type { Logger } from "../util/logger.ts";
import { expectedVariable } from "./channel-keeper.ts";
import { ControlClient } from "./control-client.ts";
import { generationVariable, ownGeneration } from "./generation.ts";
import { KeeperClient } from "./keeper-client.ts";
import { shutdownKeeper } from "./keeper-connection.ts";
import { ownCommand, startDetached, startKeeper } from "./own-process.ts";
import { socketPaths } from "./sockets.ts";
import { SupervisedControl } from "./supervised-control.ts";
import { Supervisor } from "./supervisor.ts";

export interface OpenSupervisor {
  /** For all who talk to dedupd. */
  readonly control: SupervisedControl;
  /**
   * As `Supervisor.begin`. To be called when the root is locked: two of serve must not look after
   * one dedupd.
   */
  begin(): Promise<void>;
  /**
   * With `lazy.standby`, starts dedupd and the keeper before they are needed; nobody waits for
   * them. To be called when nothing can prevent this process from serving any more.
   */
  standBy(): void;
  /** Ends dedupd and the keeper if they have nothing to do; else the next serve finds them. */
  close(): Promise<void>;
}

/**
 * @param hasUnits dedupd is a unit of its own: it is not started here, and nor is a keeper
 */
export function openSupervisor(config: Config, hasUnits: boolean, log: Logger): OpenSupervisor {
  const sockets = socketPaths(config.address);
  const generation = ownGeneration(config);
  const start = (channels: readonly string[]) =>
    startDetached(ownCommand(["dedupd"]), {
      hasLog: true,
      environment: {
        [generationVariable]: generation,
        [expectedVariable]: channels.join(","),
      },
    });
  const needsKeeper = !hasUnits && config.lazy.backend !== "eager";
  const socketPath = sockets.keeper;
  const hasExposed = () => exposedPacks(storePaths(config.root)).length > 0;
  const supervisor = new Supervisor({
    control: new ControlClient(sockets.dedupd),
    generation,
    startDedupd: hasUnits ? undefined : start,
    openKeeper: () =>
      needsKeeper
        ? new KeeperClient({
            socketPath,
            start: () => void startKeeper(socketPath),
            expected: [],
            log,
          })
        : undefined,
    endKeeper: () => shutdownKeeper(socketPath),
    hasExposed,
    log,
  });
  const isWanted = config.lazy.enabled && config.conversion.enabled && config.lazy.standby;
  return {
    control: new SupervisedControl(sockets.dedupd, supervisor),
    begin: () => supervisor.begin(),
    standBy: () => {
      if (isWanted) supervisor.start();
    },
    close: () => supervisor.close(),
  };
}

/** Who keeps the channels of a process: systemd where it can, else a keeper of our own. */
import { close } from "../../ffi/file.ts";
import type { Environment } from "../config/load.ts";
import { describeError } from "../errors.ts";
import type { Logger } from "../util/logger.ts";
import type { ChannelKeeper } from "./contract.ts";
import { KeeperClient } from "./keeper-client.ts";
import { KeeperConnection, shutdownKeeper } from "./keeper-connection.ts";
import { takeDuplicate } from "./kept-channels.ts";
import { startKeeper } from "./own-process.ts";
import { ServiceManager, storedDescriptors } from "./systemd.ts";
import { SystemdKeeper } from "./systemd-keeper.ts";

/** Channels that whoever starts dedupd knows to exist, separated by commas. */
export const expectedVariable = "DEDUP_CHANNELS";

export interface OpenKeeper {
  readonly keeper: ChannelKeeper;
  /** Lets go; what is kept stays kept. */
  close(): Promise<void>;
}

export interface ChannelKeeperOptions {
  /** Where a keeper of our own listens: `socketPaths().keeper`. */
  readonly socketPath: string;
  /** Of the process, as it was started. */
  readonly environment: Environment;
  readonly log: Logger;
}

/**
 * systemd has an fd store for this service if `FDSTORE`, its size, is more than 0: systemd sets it
 * from version 254 on, before that the unit has to. To be called once, early.
 */
export async function openChannelKeeper(options: ChannelKeeperOptions): Promise<OpenKeeper> {
  const { socketPath, environment, log } = options;
  const manager = ServiceManager.of(environment);
  if (manager !== undefined && Number(environment["FDSTORE"] ?? 0) > 0) {
    try {
      const keeper = new SystemdKeeper(manager, storedDescriptors(environment));
      await manager.barrier();
      await moveChannels(socketPath, keeper);
      log.info({}, "systemd keeps the channels to the kernel");
      return { keeper, close: () => Promise.resolve() };
    } catch (error) {
      log.warn({ reason: describeError(error) }, "systemd does not keep channels; a keeper does");
    }
  }
  const start = () => void startKeeper(socketPath);
  const expected = (environment[expectedVariable] ?? "").split(",").filter((name) => name !== "");
  const keeper = new KeeperClient({ socketPath, start, expected, log });
  return { keeper, close: () => keeper.close() };
}

/** The node was run without units before: a keeper of our own has the channels. */
async function moveChannels(socketPath: string, to: ChannelKeeper): Promise<void> {
  const connection = await KeeperConnection.open(socketPath).catch(() => undefined);
  if (connection === undefined) return;
  const { pid, channels } = await connection.ask({ do: "list" });
  for (const channel of channels) {
    const fd = takeDuplicate(pid, channel);
    await to.keep(channel.name, fd);
    close(fd);
  }
  connection.close();
  await shutdownKeeper(socketPath);
}

/** Tells systemd that the service is ready; where there is none, nobody. */
export function notifyReady(environment: Environment): void {
  ServiceManager.of(environment)?.notify(["READY=1"]);
}

/**
 * The process `dedupd`: serves content of lazy layers on demand, until it is told to stop.
 *
 * @module
 */
import type { Config } from "./config/schema.ts";
import { type AppError, describeError } from "./errors.ts";
import { createControlApp } from "./http/control-app.ts";
import { requireSocketPath, serveUnix } from "./http/unix-server.ts";
import { createLogger } from "./log.ts";
import { notifyReady, openChannelKeeper } from "./ondemand/channel-keeper.ts";
import { OnDemandServer } from "./ondemand/on-demand-server.ts";
import { PackStore } from "./ondemand/pack-store.ts";
import { socketPaths } from "./ondemand/sockets.ts";
import { storePaths } from "./store/paths.ts";
import { stopSignal } from "./stop-signal.ts";
import type { Logger } from "./util/logger.ts";
import { version } from "./version.ts";

/** Serves until SIGTERM or SIGINT; rejects if it cannot start. */
export async function runDedupd(config: Config): Promise<void> {
  const log = createLogger(config.log_level);
  const stopped = stopSignal();
  const onCrash = (error: AppError): void => {
    log.error({ reason: describeError(error) }, "giving up; the next start recovers");
    process.exit(1);
  };
  await using started = new AsyncDisposableStack();
  const keeper = await openKeeper(config, log, started);
  const server = new OnDemandServer({ config, log, keeper, onCrash });
  const { dedupd: socketPath } = socketPaths(config.address);
  // Before anything else is opened, and until all is closed: only one process may fill the packs
  // of a node and answer the kernel.
  started.use(requireSocketPath(socketPath));
  started.defer(() => server.close());
  await server.start();
  // Not before: what connects would have the numbers of descriptors by which reads that wait are
  // taken over (fanotify/descriptors.ts).
  started.use(serveUnix(createControlApp(server), socketPath));
  notifyReady(process.env);
  log.info({ version, socketPath, backend: server.backendName }, "serving content on demand");
  log.info({ signal: await stopped }, "stopping");
}

async function openKeeper(config: Config, log: Logger, started: AsyncDisposableStack) {
  const { packs } = storePaths(config.root);
  // The one backend without a channel, unless another one has to go on.
  const inUse = new PackStore(packs).backendInUse();
  if (config.lazy.backend === "eager" && inUse === undefined) return undefined;
  const { keeper: socketPath } = socketPaths(config.address);
  const opened = await openChannelKeeper({ socketPath, environment: process.env, log });
  started.defer(() => opened.close());
  return opened.keeper;
}

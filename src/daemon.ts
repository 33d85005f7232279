/**
 * The daemon: builds its parts, starts them in order, stops them in reverse.
 *
 * @module
 */
import { describeError, AppError } from "./errors.ts";
import type { Config } from "./config/schema.ts";
import { DiffService } from "./containerd/diff-service.ts";
import { openNode, type Node } from "./node.ts";
import { createApp } from "./http/app.ts";
import { startApi, type ApiServer } from "./http/server.ts";
import { createLogger } from "./log.ts";
import { openSupervisor } from "./ondemand/open-supervisor.ts";
import { ContainerdClient } from "./rpc/containerd-client.ts";
import { RpcServer } from "./rpc/server.ts";
import { stopSignal } from "./stop-signal.ts";
import { version } from "./version.ts";

/** Calls under way at SIGTERM get this time; systemd waits 90 s by default. */
const stopTimeoutMs = 20_000;

/**
 * Serves until SIGTERM or SIGINT; rejects if it cannot start.
 *
 * @param hasUnits dedupd is a systemd unit of its own, which serve does not start
 */
export async function runDaemon(config: Config, hasUnits: boolean): Promise<void> {
  const log = createLogger(config.log_level);
  const stopped = stopSignal();
  const crash = (error: AppError): void => {
    log.error({ reason: describeError(error) }, "giving up; the next start recovers");
    process.exit(1);
  };
  await using started = new AsyncDisposableStack();
  const containerd = new ContainerdClient(config.containerd.address);
  started.defer(() => containerd[Symbol.dispose]());
  const supervisor = openSupervisor(config, hasUnits, log);
  started.defer(() => supervisor.close());
  const node = await openNode(config, log, containerd, supervisor, crash);
  started.defer(() => node.close());
  const { address } = config;
  const { snapshotter: snapshots } = node;
  const service = new DiffService({
    snapshots,
    blobs: containerd,
    containerdRoot: config.containerd.root,
    isEnabled: config.diff.enabled,
    log,
  });
  const diff = { service, delegate: containerd };
  const rpc = await RpcServer.start({ socketPath: address, snapshots, diff, log });
  started.defer(() => rpc.stop(stopTimeoutMs));
  const api = await openApi(config, node);
  started.defer(() => api?.stop());
  log.info({ version, address, api: api?.address }, "serving");
  supervisor.standBy();
  log.info({ signal: await stopped }, "stopping");
}

async function openApi(config: Config, node: Node): Promise<ApiServer | undefined> {
  if (config.api.address === null) return undefined;
  const app = createApp(node);
  return startApi(app, config.api.address, node.paths.apiAddress);
}

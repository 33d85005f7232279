/**
 * A fresh node for one measurement, behind a link to the registry.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Containerd } from "../../../test/support/containerd.ts";
import { containerd21Lazy, type Flavour } from "../../../test/support/containerd-flavours.ts";
import { type DaemonOptions, TestDaemon } from "../../../test/support/daemon.ts";
import { canConnect } from "../../../test/support/socket.ts";
import { releaseBelow } from "../../lib/leftovers.ts";
import { type Service, startService, waitUntil } from "../../lib/process.ts";
import { type ScratchFolder, scratchFolder } from "../../lib/temp.ts";

export interface LazyContender {
  readonly name: string;
  /** What containerd knows it as. */
  readonly snapshotter: "overlayfs" | "stargz" | "dedup";
  /** Of our daemon, if it has a part. */
  readonly daemon?: DaemonOptions;
  /** Whether it says what the start of an image read, or is told that by one who did. */
  readonly trace?: "exported" | "imported";
}

const withStargz: Flavour = {
  ...containerd21Lazy,
  config: (paths) => `${containerd21Lazy.config(paths)}[proxy_plugins.stargz]
  type = "snapshot"
  address = "${paths.shared}/s/s.sock"
  [proxy_plugins.stargz.exports]
    enable_remote_snapshot_annotations = "true"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "stargz"
  differ = "walking"
`,
};

async function startStargz(program: string, shared: string, registry: string): Promise<Service> {
  const folder = join(shared, "s");
  const socket = join(folder, "s.sock");
  mkdirSync(folder);
  const command = [program, socket, join(folder, "root"), registry];
  const service = startService(command, join(folder, "log"));
  await waitUntil(() => canConnect(socket), "stargz-snapshotter does not answer");
  return service;
}

export class LazyNode implements AsyncDisposable {
  readonly containerd: Containerd;
  readonly daemon: TestDaemon | undefined;
  readonly #stargz: Service | undefined;
  readonly #scratch: ScratchFolder;

  private constructor(
    scratch: ScratchFolder,
    containerd: Containerd,
    daemon: TestDaemon | undefined,
    stargz: Service | undefined,
  ) {
    this.#scratch = scratch;
    this.containerd = containerd;
    this.daemon = daemon;
    this.#stargz = stargz;
  }

  /**
   * @param stargz the program of stargz-snapshotter
   * @param registry `host:port` to which it speaks plain HTTP
   */
  static async start(
    { snapshotter, daemon: options }: LazyContender,
    stargz: string,
    registry: string,
  ): Promise<LazyNode> {
    const scratch = scratchFolder("lazy");
    const { path } = scratch;
    try {
      const containerd = await Containerd.start(withStargz, path, join(path, "d", "s.sock"));
      const { socket: address, root } = containerd.paths;
      const settings = {
        idleTimeoutMs: 10_000,
        logLevel: "info",
        standby: true,
        containerd: { address, root },
      } as const;
      const daemon =
        options && (await TestDaemon.start(join(path, "d"), { ...settings, ...options }));
      const isStargz = snapshotter === "stargz";
      const service = isStargz ? await startStargz(stargz, path, registry) : undefined;
      return new LazyNode(scratch, containerd, daemon, service);
    } catch (error) {
      await releaseBelow(path);
      scratch[Symbol.dispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.daemon?.stop();
      await this.daemon?.endAll();
    } finally {
      await this.containerd.stop();
      // Its FUSE mounts go first: without it, they would hang.
      await releaseBelow(this.#scratch.path);
      await this.#stargz?.kill();
      this.#scratch[Symbol.dispose]();
    }
  }
}

/**
 * A fresh node for one contender in one round; the registry is shared by all of them.
 *
 * @module
 */
import { join } from "node:path";
import { Containerd } from "../../../test/support/containerd.ts";
import { TestDaemon } from "../../../test/support/daemon.ts";
import type { Image } from "../../../test/support/image/oci.ts";
import type { Registry } from "../../../test/support/registry.ts";
import { releaseBelow } from "../../lib/leftovers.ts";
import { type ScratchFolder, scratchFolder } from "../../lib/temp.ts";
import { mkfsOfForky } from "../../../test/support/mkfs.ts";
import { type Contender, containerd21WithErofs } from "./contenders.ts";

export class BenchNode implements AsyncDisposable {
  readonly contender: Contender;
  readonly containerd: Containerd;
  readonly daemon: TestDaemon | undefined;
  /** Where the snapshotter keeps what it makes of layers. */
  readonly storage: string;
  /** Where containerd keeps the blobs it was sent. */
  readonly content: string;
  readonly #registry: Registry;
  readonly #scratch: ScratchFolder;

  private constructor(
    contender: Contender,
    registry: Registry,
    scratch: ScratchFolder,
    containerd: Containerd,
    daemon: TestDaemon | undefined,
  ) {
    this.contender = contender;
    this.containerd = containerd;
    this.daemon = daemon;
    this.#registry = registry;
    this.#scratch = scratch;
    const { root } = containerd.paths;
    const builtIn = join(root, `io.containerd.snapshotter.v1.${contender.snapshotter}`);
    this.storage = daemon?.root ?? builtIn;
    this.content = join(root, "io.containerd.content.v1.content");
  }

  static async start(contender: Contender, registry: Registry): Promise<BenchNode> {
    const scratch = scratchFolder("node");
    try {
      const folder = join(scratch.path, "d");
      const socket = join(folder, "s.sock");
      const containerd = await Containerd.start(containerd21WithErofs, scratch.path, socket);
      const { socket: address, root } = containerd.paths;
      const mkfsPath = contender.usesMkfs && (await mkfsOfForky(scratch.path));
      const options = { ...contender.daemon, containerd: { address, root }, mkfsPath };
      const isOurs = contender.daemon !== undefined;
      const daemon = isOurs ? await TestDaemon.start(folder, options) : undefined;
      return new BenchNode(contender, registry, scratch, containerd, daemon);
    } catch (error) {
      await releaseBelow(scratch.path);
      scratch[Symbol.dispose]();
      throw error;
    }
  }

  reference(image: Image): string {
    return this.#registry.reference(image);
  }

  /** A path that containerd's mount namespace and this one both have; free for mounts. */
  mountPoint(name: string): string {
    return join(this.#scratch.path, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.daemon?.stop();
      await this.daemon?.endAll();
    } finally {
      await this.containerd.stop();
      await releaseBelow(this.#scratch.path);
      this.#scratch[Symbol.dispose]();
    }
  }
}

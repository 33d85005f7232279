/**
 * A whole node in one folder: registry, containerd and the daemon.
 *
 * @module
 */
import { join } from "node:path";
import { ensurePackages } from "../../scripts/lib/apt.ts";
import { findMounted, releaseBelow } from "../../scripts/lib/leftovers.ts";
import { waitUntil } from "../../scripts/lib/process.ts";
import { type ScratchFolder, scratchFolder } from "../../scripts/lib/temp.ts";
import type { Flavour } from "./containerd-flavours.ts";
import { Containerd } from "./containerd.ts";
import { type DaemonOptions, TestDaemon } from "./daemon.ts";
import type { Image } from "./image/oci.ts";
import { Registry } from "./registry.ts";

export class TestNode implements AsyncDisposable {
  readonly registry: Registry;
  readonly containerd: Containerd;
  readonly daemon: TestDaemon;
  readonly #scratch: ScratchFolder;

  private constructor(
    scratch: ScratchFolder,
    registry: Registry,
    containerd: Containerd,
    daemon: TestDaemon,
  ) {
    this.#scratch = scratch;
    this.registry = registry;
    this.containerd = containerd;
    this.daemon = daemon;
  }

  static async start(flavour: Flavour, options: DaemonOptions = {}): Promise<TestNode> {
    await ensurePackages(["docker-registry"]);
    const scratch = scratchFolder("node");
    try {
      const folder = join(scratch.path, "d");
      const registry = await Registry.start(join(scratch.path, "r"));
      const containerd = await Containerd.start(flavour, scratch.path, join(folder, "s.sock"));
      const { socket: address, root } = containerd.paths;
      const own = { containerd: { address, root } };
      const daemon = await TestDaemon.start(folder, { ...own, ...options });
      return new TestNode(scratch, registry, containerd, daemon);
    } catch (error) {
      await releaseBelow(scratch.path);
      scratch[Symbol.dispose]();
      throw error;
    }
  }

  /** Pushes an image and pulls it through the daemon; resolves with its reference. */
  async pull(image: Image): Promise<string> {
    const reference = this.registry.reference(image);
    await this.registry.push(image);
    await this.containerd.pull(reference);
    return reference;
  }

  /** Waits until containerd, which pauses up to 3 s, has found the daemon after a restart. */
  async waitUntilConnected(): Promise<void> {
    const command = ["snapshots", "--snapshotter", "dedup", "ls"];
    const isConnected = async () => (await this.containerd.tryCtr(...command)).exitCode === 0;
    await waitUntil(isConnected, "containerd does not reach the daemon");
  }

  /** How much content of lazy layers is not there yet. */
  async missingBytes(): Promise<number> {
    return (await this.daemon.stats()).lazy.missing_bytes;
  }

  /** Waits until all content of lazy layers is there. */
  async waitUntilFetched(timeoutMs = 20_000): Promise<void> {
    const isFetched = async () => (await this.missingBytes()) === 0;
    await waitUntil(isFetched, "content is still missing", timeoutMs);
  }

  /** Waits until no layer is mounted, as it has to be when no container is left. */
  async waitUntilUnmounted(): Promise<void> {
    await this.containerd.collectGarbage();
    const isUnmounted = () => findMounted(join(this.daemon.root, "mounts")).length === 0;
    try {
      await waitUntil(isUnmounted, "layers are still mounted");
    } catch (cause) {
      throw new Error(`${String(cause)}\n${this.daemon.logEnd()}`, { cause });
    }
  }

  /** Stops everything; fails if anything is left below the daemon's root. */
  async stop(): Promise<void> {
    const left: string[] = [];
    try {
      await this.daemon.stop();
      await this.daemon.endAll();
      // The mount by which content is asked for ends with the last image that lacks any.
      const lazy = join(this.daemon.root, "lazy");
      left.push(...findMounted(this.daemon.root).filter((name) => name !== `mount ${lazy}`));
    } finally {
      await this.containerd.stop();
      await this.registry[Symbol.asyncDispose]();
      await releaseBelow(this.#scratch.path);
      this.#scratch[Symbol.dispose]();
    }
    if (left.length > 0) throw new Error(`the daemon left behind:\n${left.join("\n")}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/**
 * What is tortured: a node with layers of a registry, on a disk that can be filled.
 *
 * @module
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { unmount } from "../../ffi/mount.ts";
import type { MountMode } from "../../src/mount/contract.ts";
import { alignUp, MiB } from "../../src/util/bytes.ts";
import type { Fault } from "../../src/util/failpoint.ts";
import { mountSmallDisk, unmountSmallDisk } from "../../test/support/small-disk.ts";
import { mountsBelow } from "../lib/leftovers.ts";
import { waitUntil } from "../lib/process.ts";
import { MoodyRegistry } from "./moody-registry.ts";
import { type NodeOptions, TortureNode } from "./node.ts";
import { TorturePack } from "./packs.ts";

export interface RigOptions {
  readonly backend: NodeOptions["backend"];
  readonly seed: string;
  /** Layers of 18 MiB and more. */
  readonly packs: number;
  /** How often each layer has each size of file. */
  readonly copies: number;
  readonly fault?: Fault | undefined;
}

const firstPackId = 512;
const mode: MountMode = { method: "file", directIo: true };
/** Beside content: of the file system itself, and of what is deleted but still open. */
const slackBytes = 128 * MiB;
/** The end of the log that is shown of a run that fails. */
const logShownBytes = 40_000;

export class Rig implements AsyncDisposable {
  readonly folder: string;
  readonly registry: MoodyRegistry;
  readonly node: TortureNode;
  readonly packs: readonly TorturePack[];
  readonly #disk: string;

  private constructor(folder: string, disk: string, options: RigOptions) {
    const { backend, seed, copies, fault } = options;
    this.folder = folder;
    this.#disk = disk;
    const root = join(disk, "root");
    this.packs = Array.from({ length: options.packs }, (_, index) => {
      // Gzip takes a while.
      const format = index === 0 ? "estargz" : "zstd-chunked";
      return new TorturePack({ folder, root, packId: firstPackId + index, format, copies, seed });
    });
    this.registry = new MoodyRegistry(this.packs.map(({ fixture }) => fixture));
    this.node = new TortureNode(folder, { root, backend, fault });
  }

  /** @param folder on a disk file system; mounts and processes below it are gone in the end */
  static async open(folder: string, options: RigOptions): Promise<Rig> {
    const contentBytes = options.packs * options.copies * 19 * MiB;
    const disk = await mountSmallDisk(folder, alignUp(1.25 * contentBytes + slackBytes, MiB));
    mkdirSync(join(disk, "root"));
    return new Rig(folder, disk, options);
  }

  /** Starts all processes; resolves when all layers are mounted. */
  async start(): Promise<void> {
    for (const pack of this.packs) pack.write(this.image);
    this.node.startServe(this.packs.map(({ packId }) => packId));
    await this.node.dedupd();
    for (const pack of this.packs) await this.mount(pack);
    await this.node.settled();
  }

  get image(): string {
    return `${this.registry.authority}/app:1`;
  }

  async mount(pack: TorturePack): Promise<void> {
    pack.mount(await this.node.control.expose(pack.packId), mode);
  }

  logEnd(): string {
    return readFileSync(this.node.logFile, "utf8").slice(-logShownBytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Also what a reader that was killed has left.
    for (const path of mountsBelow(this.folder))
      if (path !== this.#disk) unmount(path, { lazily: true });
    await this.node[Symbol.asyncDispose]();
    await this.registry[Symbol.asyncDispose]();
    // The end of a process takes a moment, and that of what it had open.
    await waitUntil(() => isUnmounted(this.folder), "the disk is still in use");
  }
}

function isUnmounted(folder: string): boolean {
  try {
    unmountSmallDisk(folder);
    return true;
  } catch {
    return false;
  }
}

/**
 * Kill -9 at random points of Apply and of the Commit after it: what Apply had answered is in the
 * snapshot afterwards, a Commit that comes then publishes it, and nothing is left behind.
 *
 * The seed is printed; DEDUP_SEED replays it.
 */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { TestDaemon } from "../support/daemon.ts";
import { ContentFolder, descriptorOf, DiffClient } from "../support/diff-client.ts";
import { directory, file } from "../support/image/layer.ts";
import { sha256 } from "../support/image/oci.ts";
import { writeTar } from "../support/image/tar.ts";
import { KillDelay, roundsOf } from "../support/kill-delay.ts";
import { Picker } from "../support/picker.ts";
import { randomBytes } from "../support/random.ts";
import { type Files, fileDifferences } from "../support/snapshot-files.ts";
import { Kind, SnapshotsClient } from "../support/snapshots-client.ts";

const kills = 100;
const seed = process.env["DEDUP_SEED"] ?? String(Date.now());
/** Kills fall into this time after the start of a pull at first. */
const killDelayMsMax = 60;

interface Layer {
  readonly name: string;
  readonly key: string;
  readonly parent: string;
  /** All files of the chain. */
  readonly files: Files;
  readonly blob: Buffer;
  readonly diffId: string;
}

/** How far a pull had come, by what the daemon had answered. */
type Progress = "nothing" | "prepared" | "applied" | "committed";

class Adversary {
  readonly #picker = new Picker(seed);
  readonly #delay = new KillDelay(this.#picker, killDelayMsMax);
  readonly #committed = new Map<string, Layer>();
  readonly #daemon: TestDaemon;
  readonly #content: ContentFolder;
  #snapshots: SnapshotsClient;
  #diff: DiffClient;
  #number = 0;

  constructor(daemon: TestDaemon, content: ContentFolder) {
    this.#daemon = daemon;
    this.#content = content;
    this.#snapshots = new SnapshotsClient(daemon.socket);
    this.#diff = new DiffClient(daemon.socket);
  }

  /** One pull under fire, the restart, and the look at what came of it. */
  async round(): Promise<Progress> {
    const layer = this.#newLayer();
    let progress = "nothing" as Progress;
    const work = this.#pull(layer, (reached) => (progress = reached)).catch(() => undefined);
    await Promise.race([work, Bun.sleep(this.#delay.pickMs())]);
    const reached = progress;
    this.#delay.learn(reached !== "committed");
    await this.#daemon.kill();
    await work;
    this.disconnect();
    await this.#daemon.start();
    this.#snapshots = new SnapshotsClient(this.#daemon.socket);
    this.#diff = new DiffClient(this.#daemon.socket);
    await this.#settle(layer, reached);
    if (this.#committed.size > 6) await this.#removeOne();
    return reached;
  }

  async #pull(layer: Layer, onProgress: (progress: Progress) => void): Promise<void> {
    const mounts = await this.#snapshots.prepare(layer.key, layer.parent);
    onProgress("prepared");
    await this.#diff.apply(descriptorOf(layer.blob), mounts);
    onProgress("applied");
    await this.#snapshots.commit(layer.name, layer.key);
    onProgress("committed");
  }

  /** A client goes on where it was, or starts over; both have to come out right. */
  async #settle(layer: Layer, reached: Progress): Promise<void> {
    const { name, key, parent } = layer;
    const committed = await this.#snapshots.stat(name);
    if (committed === undefined) {
      expect(reached).not.toBe("committed");
      const active = await this.#snapshots.stat(key);
      if (reached !== "nothing") expect(active?.kind).toBe(Kind.ACTIVE);
      if (reached !== "applied") {
        if (active === undefined) await this.#snapshots.prepare(key, parent);
        const mounts = await this.#snapshots.mounts(key);
        const applied = await this.#diff.apply(descriptorOf(layer.blob), mounts);
        expect(applied?.digest).toBe(layer.diffId);
      }
      await this.#snapshots.commit(name, key);
    }
    this.#committed.set(name, layer);
    expect(await fileDifferences(this.#snapshots, name, layer.files)).toEqual([]);
  }

  async #removeOne(): Promise<void> {
    const parents = new Set([...this.#committed.values()].map(({ parent }) => parent));
    const leaves = [...this.#committed.keys()].filter((name) => !parents.has(name));
    const name = this.#picker.oneOf(leaves) ?? "";
    await this.#snapshots.remove(name);
    this.#committed.delete(name);
  }

  /** Some files, a part of them with content that other layers have too; sometimes a whole blob. */
  #newLayer(): Layer {
    const number = this.#number++;
    const names = { name: `layer-${number}`, key: `key-${number}` };
    const parent = this.#picker.oneOf(["", ...this.#committed.keys()]) ?? "";
    const below = this.#committed.get(parent)?.files ?? new Map<string, Buffer>();
    const own = new Map<string, Buffer>();
    const recipe = new Picker(`${seed} blob ${this.#picker.integer(60)}`);
    for (let count = recipe.integer(6) + 1; count > 0; count--) {
      const sizeBytes = recipe.integer(2) === 0 ? 2_000_000 : recipe.integer(9_000);
      const content = randomBytes(`content ${recipe.integer(40)}`, sizeBytes);
      own.set(`file-${recipe.integer(8)}`, content);
    }
    const tar = writeTar([directory(""), ...[...own].map(([path, bytes]) => file(path, bytes))]);
    const blob = gzipSync(tar, { level: 1 });
    this.#content.put(blob);
    return { ...names, parent, files: new Map([...below, ...own]), blob, diffId: sha256(tar) };
  }

  async verifyAll(): Promise<void> {
    for (const { name, files } of this.#committed.values()) {
      expect(await fileDifferences(this.#snapshots, name, files)).toEqual([]);
    }
  }

  async removeAll(): Promise<void> {
    await this.#snapshots.removeAll();
  }

  disconnect(): void {
    this.#snapshots[Symbol.dispose]();
    this.#diff[Symbol.dispose]();
  }
}

describe("Apply", () => {
  test(`survives up to ${kills} kills, losing and leaking nothing (seed ${seed})`, async () => {
    using folder = scratchFolder("crash");
    const containerd = { address: join(folder.path, "none.sock"), root: join(folder.path, "c") };
    const options = { chunkSizeBytes: 65_536, containerd };
    await using daemon = await TestDaemon.start(join(folder.path, "d"), options);
    const adversary = new Adversary(daemon, new ContentFolder(containerd.root));
    const reached = new Map<Progress, number>();
    for (const round of roundsOf(kills)) {
      const progress = await adversary.round();
      reached.set(progress, (reached.get(progress) ?? 0) + 1);
      if (round % 10 > 0) continue;
      await adversary.verifyAll();
      await daemon.kill();
      await daemon.start();
      await daemon.stop();
      expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
      await daemon.start();
    }
    // Otherwise the delays are wrong for this machine, and the test shows little.
    expect(reached.get("prepared") ?? 0).toBeGreaterThan(0);
    await adversary.removeAll();
    adversary.disconnect();
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
    expect(daemon.leftovers()).toEqual([]);
  }, 480_000);
});

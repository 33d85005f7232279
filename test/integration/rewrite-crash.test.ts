/**
 * Kill -9 at random moments of rewriting: every layer shows what it showed, and nothing is left
 * behind.
 *
 * The setting of compression changes with each restart, so that there is always something to
 * rewrite; now and then a layer is removed, so that bundles are compacted. The seed is printed;
 * DEDUP_SEED replays it.
 */
import { describe, expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { GiB } from "../../src/util/bytes.ts";
import { TestDaemon } from "../support/daemon.ts";
import { ownFolderOf } from "../support/mounted.ts";
import { KillDelay, roundsOf } from "../support/kill-delay.ts";
import { Picker } from "../support/picker.ts";
import { randomBytes } from "../support/random.ts";
import { fileDifferences, type Files } from "../support/snapshot-files.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";
import { manyDense, text } from "../support/store-files.ts";

const kills = 60;
const seed = process.env["DEDUP_SEED"] ?? String(Date.now());
/** Kills fall into this time after the rewriting began at first; all layers take longer. */
const killDelayMsMax = 250;
const settings = ["none", "zstd", "deflate"] as const;
const layersMax = 6;

class Adversary {
  /** How often a layer was rewritten before the kill: without any the test would show nothing. */
  moves = 0;
  readonly #picker = new Picker(seed);
  readonly #delay = new KillDelay(this.#picker, killDelayMsMax);
  readonly #committed = new Map<string, Files>();
  readonly #daemon: TestDaemon;
  #number = 0;

  constructor(daemon: TestDaemon) {
    this.#daemon = daemon;
  }

  async round(): Promise<void> {
    await this.#change();
    const before = this.#images();
    await this.#daemon.cli("recompress");
    await Bun.sleep(this.#delay.pickMs());
    await this.#daemon.kill();
    const hasMoved = this.#images().some((name) => !before.includes(name));
    this.#delay.learn(!hasMoved);
    if (hasMoved) this.moves += 1;
    this.configure(this.#picker.oneOf(settings) ?? "zstd");
    await this.#daemon.start();
  }

  #images(): string[] {
    return readdirSync(join(this.#daemon.root, "images"));
  }

  configure(compression: (typeof settings)[number]): void {
    const times = { idleTimeoutMs: 0, compactionDelayMs: 0 };
    this.#daemon.configure({ compression, bytesPerSecond: 100 * GiB, ...times });
  }

  /** Adds a layer, or removes one. */
  async #change(): Promise<void> {
    using client = new SnapshotsClient(this.#daemon.socket);
    const name = this.#picker.oneOf([...this.#committed.keys()]);
    if (name !== undefined && this.#committed.size >= layersMax) {
      await client.remove(name);
      this.#committed.delete(name);
    }
    const added = `layer-${this.#number}`;
    const own = ownFolderOf(await client.prepare(`key-${added}`, ""));
    const files = this.#pickFiles();
    for (const [file, content] of files) writeFileSync(join(own, file), content);
    await client.commit(added, `key-${added}`);
    this.#committed.set(added, files);
    this.#number += 1;
  }

  /** A part of them other layers have, too. */
  #pickFiles(): Files {
    const small = manyDense(20 + this.#picker.integer(40), 40 * this.#picker.integer(5));
    const large = text(this.#picker.integer(4), 700_000);
    const movie = randomBytes(`movie ${this.#picker.integer(4)}`, 300_000);
    const files = Object.entries({ ...small, large, movie, own: text(this.#number + 10, 70_000) });
    return new Map(files.map(([name, content]) => [name, Buffer.from(content)]));
  }

  async verifyAll(): Promise<void> {
    using client = new SnapshotsClient(this.#daemon.socket);
    for (const [name, files] of this.#committed) {
      expect(await fileDifferences(client, name, files)).toEqual([]);
    }
  }

  async removeAll(): Promise<void> {
    using client = new SnapshotsClient(this.#daemon.socket);
    await client.removeAll();
  }
}

async function expectSound(daemon: TestDaemon): Promise<void> {
  await daemon.stop();
  expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
  await daemon.start();
}

describe("a daemon that rewrites layers", () => {
  test(`survives up to ${kills} kills, losing and leaking nothing (seed ${seed})`, async () => {
    using folder = scratchFolder("rewrite-crash");
    await using daemon = await TestDaemon.start(folder.path, { compression: "none" });
    const adversary = new Adversary(daemon);
    for (const round of roundsOf(kills)) {
      await adversary.round();
      if (round % 6 > 0) continue;
      await adversary.verifyAll();
      await expectSound(daemon);
    }
    expect(adversary.moves).toBeGreaterThan(kills / 4);
    adversary.configure("zstd");
    await daemon.stop();
    await daemon.start();
    await daemon.cli("recompress", "--wait");
    const isDone = async () =>
      (await daemon.cli("recompress", "--dry-run")) === "0 layers to rewrite, 0 B of content\n";
    await waitUntil(isDone, "there is always something to rewrite");
    await adversary.verifyAll();
    await expectSound(daemon);
    await adversary.removeAll();
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
    expect(daemon.leftovers()).toEqual([]);
  }, 480_000);
});

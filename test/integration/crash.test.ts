/**
 * Kill -9 at random moments: whatever the daemon had acknowledged is there and right afterwards,
 * whatever it had not is either whole or not there, and nothing is left behind.
 *
 * A seeded adversary runs the life of snapshots against the compiled daemon and kills it after a
 * random time, a hundred times. The seed is printed; DEDUP_SEED replays it.
 */
import type { ServiceError } from "@grpc/grpc-js";
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { TestDaemon } from "../support/daemon.ts";
import { KillDelay, roundsOf } from "../support/kill-delay.ts";
import { ownFolderOf } from "../support/mounted.ts";
import { Picker } from "../support/picker.ts";
import { randomBytes } from "../support/random.ts";
import { type Files, fileDifferences } from "../support/snapshot-files.ts";
import { Kind, SnapshotsClient } from "../support/snapshots-client.ts";

const kills = 100;
const seed = process.env["DEDUP_SEED"] ?? String(Date.now());
/** Kills fall into this time after the start of an operation at first. */
const killDelayMsMax = 30;

interface Committed {
  readonly parent: string;
  /** All files of the chain. */
  readonly files: Files;
}

/** What an operation was about to do when the daemon died. */
type Operation =
  | {
      readonly kind: "commit";
      readonly name: string;
      readonly key: string;
      readonly want: Committed;
    }
  | { readonly kind: "remove"; readonly name: string };

class Adversary {
  /** How many operations ended how: without both kinds the test would show nothing. */
  readonly outcomes = new Map<string, number>();
  readonly #picker = new Picker(seed);
  readonly #delay = new KillDelay(this.#picker, killDelayMsMax);
  readonly #committed = new Map<string, Committed>();
  readonly #daemon: TestDaemon;
  #client: SnapshotsClient;
  #number = 0;

  constructor(daemon: TestDaemon) {
    this.#daemon = daemon;
    this.#client = new SnapshotsClient(daemon.socket);
  }

  /** One operation under fire, the restart, and the look at what came of it. */
  async round(): Promise<void> {
    const doomed: { operation?: Operation; isAcknowledged: boolean } = { isAcknowledged: false };
    const work = this.#operate(doomed).catch(ignoreLostCall);
    await Promise.race([work, Bun.sleep(this.#delay.pickMs())]);
    const wasAcknowledged = doomed.isAcknowledged;
    this.#delay.learn(!wasAcknowledged);
    const outcome = wasAcknowledged ? "acknowledged" : "cut off";
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
    await this.#daemon.kill();
    await work;
    this.#client[Symbol.dispose]();
    await this.#daemon.start();
    this.#client = new SnapshotsClient(this.#daemon.socket);
    if (doomed.operation !== undefined) await this.#settle(doomed.operation, wasAcknowledged);
  }

  async #operate(doomed: { operation?: Operation; isAcknowledged: boolean }): Promise<void> {
    const leaf = this.#picker.oneOf(this.#leaves());
    if (leaf !== undefined && this.#committed.size > 6 && this.#picker.integer(3) === 0) {
      doomed.operation = { kind: "remove", name: leaf };
      await this.#client.remove(leaf);
      doomed.isAcknowledged = true;
      return;
    }
    const parent = this.#picker.oneOf(["", ...this.#committed.keys()]) ?? "";
    const key = `key-${this.#number}`;
    const name = `layer-${this.#number}`;
    this.#number += 1;
    const mounts = await this.#client.prepare(key, parent);
    const own = this.#writeFiles(ownFolderOf(mounts));
    const files = new Map([...(this.#committed.get(parent)?.files ?? []), ...own]);
    doomed.operation = { kind: "commit", name, key, want: { parent, files } };
    await this.#client.commit(name, key);
    doomed.isAcknowledged = true;
  }

  /** Some files, a part of them with content that other layers have too. */
  #writeFiles(folder: string): Files {
    const files = new Map<string, Buffer>();
    for (let count = this.#picker.integer(6) + 1; count > 0; count--) {
      const name = `file-${this.#picker.integer(8)}`;
      const sizeBytes = this.#picker.integer(3) === 0 ? 2_000_000 : this.#picker.integer(9_000);
      const content = randomBytes(`content ${this.#picker.integer(40)}`, sizeBytes);
      writeFileSync(join(folder, name), content);
      files.set(name, content);
    }
    return files;
  }

  #leaves(): string[] {
    const parents = new Set([...this.#committed.values()].map(({ parent }) => parent));
    return [...this.#committed.keys()].filter((name) => !parents.has(name));
  }

  async #settle(operation: Operation, wasAcknowledged: boolean): Promise<void> {
    const info = await this.#client.stat(operation.name);
    if (operation.kind === "remove") {
      if (info === undefined) this.#committed.delete(operation.name);
      else expect(wasAcknowledged).toBe(false);
      return;
    }
    const { name, key, want } = operation;
    if (info === undefined) {
      expect(wasAcknowledged).toBe(false);
      expect((await this.#client.stat(key))?.kind).toBe(Kind.ACTIVE);
      await this.#client.commit(name, key);
    }
    this.#committed.set(name, want);
    await this.#verify(name);
  }

  async #verify(name: string): Promise<void> {
    const files = this.#committed.get(name)?.files ?? new Map<string, Buffer>();
    expect(await fileDifferences(this.#client, name, files)).toEqual([]);
  }

  async verifyAll(): Promise<void> {
    for (const name of this.#committed.keys()) await this.#verify(name);
  }

  async removeAll(): Promise<void> {
    await this.#client.removeAll();
    this.#client[Symbol.dispose]();
  }
}

/** The answer to a call that was cut off; anything else is a mistake of this test. */
function ignoreLostCall(error: unknown): void {
  if (typeof (error as ServiceError).code !== "number") throw error;
}

describe("the daemon", () => {
  test(`survives up to ${kills} kills, losing and leaking nothing (seed ${seed})`, async () => {
    using folder = scratchFolder("crash");
    await using daemon = await TestDaemon.start(folder.path, { chunkSizeBytes: 65_536 });
    const adversary = new Adversary(daemon);
    for (const round of roundsOf(kills)) {
      await adversary.round();
      if (round % 10 > 0) continue;
      await adversary.verifyAll();
      await daemon.kill();
      await daemon.start();
      await daemon.stop();
      expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
      await daemon.start();
    }
    expect(adversary.outcomes.get("cut off") ?? 0).toBeGreaterThan(0);
    expect(adversary.outcomes.get("acknowledged") ?? 0).toBeGreaterThan(0);
    await adversary.removeAll();
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
    expect(daemon.leftovers()).toEqual([]);
  }, 480_000);
});

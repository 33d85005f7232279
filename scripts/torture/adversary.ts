/**
 * What is done to a node while others read: everything but to kill all who hold a channel at once.
 *
 * @module
 */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { type Failpoint, failpoints } from "../../src/util/failpoint.ts";
import type { MountMode } from "../../src/mount/contract.ts";
import { Picker } from "../../test/support/picker.ts";
import { tryCommand, waitUntil } from "../lib/process.ts";
import { type MoodyRegistry, moods } from "./moody-registry.ts";
import type { TortureNode } from "./node.ts";
import type { TorturePack } from "./packs.ts";

/** By how often each is chosen. */
const actions = {
  killDedupd: 8,
  stopDedupd: 4,
  killKeeper: 3,
  killServe: 2,
  killDedupdAndKeeper: 2,
  killDedupdAndServe: 2,
  killAtFailpoint: 6,
  changeMood: 6,
  dropCaches: 2,
  replacePack: 5,
} as const;

type Action = keyof typeof actions;

const pauseMsMax = 40;
/** A failpoint that nobody comes to in this time is given up. */
const failpointMs = 1_500;
const failpointVisitsMax = 6;
/** Those that a process comes to when it starts, or takes over. */
const pointsOfStart: ReadonlySet<string> = new Set<Failpoint>([
  "expose.marked",
  "channel.after-adopt",
  "channel.before-keep",
  "channel.after-keep",
  "takeover.orphans",
]);

export interface AdversaryOptions {
  readonly node: TortureNode;
  readonly registry: MoodyRegistry;
  readonly packs: readonly TorturePack[];
  readonly mode: MountMode;
  readonly seed: string;
}

export class Adversary {
  readonly counts = new Map<string, number>();
  /** From each kill of dedupd until its successor answers, in milliseconds. */
  readonly takeoversMs: number[] = [];
  kills = 0;
  readonly #options: AdversaryOptions;
  readonly #picker: Picker;
  readonly #deck: readonly Action[];

  constructor(options: AdversaryOptions) {
    this.#options = options;
    this.#picker = new Picker(`${options.seed} adversary`);
    const weights = Object.entries(actions) as [Action, number][];
    this.#deck = weights.flatMap(([action, weight]) => Array<Action>(weight).fill(action));
  }

  /** One thing; resolves when the node has recovered from it. */
  async act(): Promise<void> {
    await Bun.sleep(this.#picker.integer(pauseMsMax));
    const action = this.#picker.oneOf(this.#deck) ?? "killDedupd";
    this.#count(action);
    await this[action]();
  }

  /** Whatever was done to the network ends. */
  relent(): void {
    this.#options.registry.mood = "honest";
  }

  async killDedupd(): Promise<void> {
    await this.#kill({ dedupd: true });
  }

  /** SIGTERM, as an upgrade does: it lets go of the channel while others read. */
  async stopDedupd(): Promise<void> {
    await this.#kill({ dedupd: true }, "SIGTERM");
  }

  async killKeeper(): Promise<void> {
    await this.#kill({ keeper: true });
  }

  async killServe(): Promise<void> {
    await this.#kill({ serve: true });
  }

  async killDedupdAndKeeper(): Promise<void> {
    await this.#kill({ dedupd: true, keeper: true });
  }

  async killDedupdAndServe(): Promise<void> {
    await this.#kill({ dedupd: true, serve: true });
  }

  async killAtFailpoint(): Promise<void> {
    const { node } = this.#options;
    const name = this.#picker.oneOf(failpoints) ?? failpoints[0];
    // With something to fetch: most of the places are on the way of a read that waits.
    await this.replacePack();
    await node.settled();
    const { pid } = await node.dedupd();
    const isOfStart = pointsOfStart.has(name);
    const visits = isOfStart ? 1 : 1 + this.#picker.integer(failpointVisitsMax);
    writeFileSync(node.failpointFile, `${name}:${visits}`);
    if (isOfStart) process.kill(pid, "SIGKILL");
    const endMs = performance.now() + failpointMs;
    await waitUntil(
      () => !existsSync(node.failpointFile) || performance.now() > endMs,
      "a failpoint is not left",
    );
    if (existsSync(node.failpointFile)) {
      rmSync(node.failpointFile, { force: true });
      return;
    }
    this.#count(name);
    this.kills += 1;
    await node.dedupd(pid);
  }

  async changeMood(): Promise<void> {
    this.#options.registry.mood = this.#picker.oneOf(moods) ?? "honest";
    await Promise.resolve();
  }

  /** Of what was read through the layers; what was filled stays in the packs. */
  async dropCaches(): Promise<void> {
    const pack = this.#pack();
    for (const { name } of pack.files) {
      await tryCommand(["dd", `if=${pack.expectedPath(name)}`, "iflag=nocache", "count=0"]);
      await tryCommand(["dd", `if=${pack.mountPoint}/${name}`, "iflag=nocache", "count=0"]);
    }
  }

  /** Removes a layer and adds it again: nothing of its content is there then. */
  async replacePack(): Promise<void> {
    const { node, registry, mode } = this.#options;
    const pack = this.#pack();
    pack.isReplaced = true;
    registry.mood = "honest";
    await waitUntil(() => pack.readers === 0, "a reader goes on", 300_000);
    // A process that has read may take a moment to be gone.
    await this.#insist(async () => pack.unmount());
    await this.#insist(() => node.control.withdraw(pack.packId));
    pack.remove();
    pack.write(`${registry.authority}/app:1`);
    const path = await this.#insist(() => node.control.expose(pack.packId));
    pack.mount(path, mode);
    pack.isReplaced = false;
  }

  #pack(): TorturePack {
    const pack = this.#picker.oneOf(this.#options.packs);
    if (pack === undefined) throw new Error("there is nothing to torture");
    return pack;
  }

  /** A call may meet a dedupd that is being replaced. */
  async #insist<T>(call: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (attempt === 100) throw error;
        await Bun.sleep(pauseMsMax);
      }
    }
  }

  async #kill(
    victims: { dedupd?: true; keeper?: true; serve?: true },
    how: "SIGKILL" | "SIGTERM" = "SIGKILL",
  ): Promise<void> {
    const { node } = this.#options;
    const keeper = await node.settled();
    const { pid } = await node.dedupd();
    const startMs = performance.now();
    if (victims.keeper) process.kill(keeper, "SIGKILL");
    if (victims.dedupd) process.kill(pid, how);
    if (victims.serve) {
      await node.killServe();
      node.startServe();
    }
    this.kills += Object.keys(victims).length;
    if (!victims.dedupd) return;
    await node.dedupd(pid);
    this.takeoversMs.push(performance.now() - startMs);
  }

  #count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }
}

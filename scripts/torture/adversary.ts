/**
 * What is done to a node while others read: everything but to kill all who hold a channel at once.
 *
 * @module
 */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Failpoint, failpoints, readFailpoints } from "../../src/util/failpoint.ts";
import { Picker } from "../../test/support/picker.ts";
import { waitUntil } from "../lib/process.ts";
import { fillDisk } from "./full-disk.ts";
import { moods } from "./moody-registry.ts";
import type { NodeOptions } from "./node.ts";
import type { TorturePack } from "./packs.ts";
import type { Rig } from "./rig.ts";
import { dropCached } from "./ways.ts";

/** By how often each is chosen. */
const actions = {
  killDedupd: 8,
  stopDedupd: 4,
  killKeeper: 3,
  killServe: 2,
  killDedupdAndKeeper: 2,
  killDedupdAndServe: 2,
  killAtFailpoint: 8,
  changeMood: 6,
  dropCaches: 2,
  replacePack: 4,
  fillTheDisk: 2,
} as const;

type Action = keyof typeof actions;

const pauseMsMax = 40;
const fullDiskMsMax = 400;
/** A failpoint that nobody comes to in this time is given up. */
const failpointMs = 10_000;
const failpointVisitsMax = 6;
/** Of a call that meets a dedupd on its way down or up. */
const attemptsMax = 250;
/** Those that a process comes to when it starts, or takes over. */
const pointsOfStart: ReadonlySet<string> = new Set<Failpoint>([
  "expose.marked",
  "channel.after-adopt",
  "channel.before-keep",
  "channel.after-keep",
  "takeover.orphans",
]);
/** Those that readers come to again and again. */
const pointsOfReads: ReadonlySet<string> = new Set(readFailpoints);
/** Those of the very first start, when there is no channel to take over. */
const pointsOfBirth: readonly Failpoint[] = ["channel.before-keep", "channel.after-keep"];
/** Those that only one backend has, or comes to more than once. */
const pointsOfOne: ReadonlyMap<Failpoint, NodeOptions["backend"]> = new Map([
  ["pass.held", "fanotify"],
  ["takeover.orphans", "fanotify"],
  ["channel.before-keep", "fuse"],
  ["channel.after-keep", "fuse"],
]);

export interface AdversaryOptions {
  readonly rig: Rig;
  readonly backend: NodeOptions["backend"];
  readonly seed: string;
  /** Longer than any read takes. */
  readonly hungMs: number;
}

export class Adversary {
  readonly counts = new Map<string, number>();
  /** From each kill of dedupd until its successor answers, in milliseconds. */
  readonly takeoversMs: number[] = [];
  kills = 0;
  readonly #options: AdversaryOptions;
  readonly #picker: Picker;
  readonly #deck: readonly Action[];
  /** In the order in which their turn comes. */
  readonly #points: readonly Failpoint[];
  #turn = 0;

  constructor(options: AdversaryOptions) {
    const { seed, backend } = options;
    this.#options = options;
    this.#picker = new Picker(`${seed} adversary`);
    const weights = Object.entries(actions) as [Action, number][];
    this.#deck = weights.flatMap(([action, weight]) => Array<Action>(weight).fill(action));
    const isOurs = (name: Failpoint) => (pointsOfOne.get(name) ?? backend) === backend;
    this.#points = this.#picker.shuffled(failpoints.filter(isOurs));
  }

  /** Failpoints of the backend at which nobody was killed. */
  get unvisited(): string[] {
    return this.#points.filter((name) => !this.counts.has(name));
  }

  /**
   * Has a node that is about to start die twice before it has a channel. To be called before it is
   * started; resolves when it has died.
   */
  async spoilStart(): Promise<void> {
    const { node } = this.#options.rig;
    for (const name of pointsOfBirth) {
      writeFileSync(node.failpointFile, name);
      await waitUntil(() => !existsSync(node.failpointFile), `nobody comes to ${name}`);
      this.#count(name);
      this.kills += 1;
    }
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
    this.#options.rig.registry.mood = "honest";
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

  /** At the place whose turn it is. */
  async killAtFailpoint(): Promise<void> {
    const { node } = this.#options.rig;
    const name = this.#points[this.#turn % this.#points.length] ?? failpoints[0];
    this.#turn += 1;
    // With something to fetch: most of the places are on the way of a read that waits.
    const pack = await this.#replaceOne();
    await node.settled();
    const { pid } = await node.dedupd();
    const endMs = performance.now() + failpointMs;
    const coming = this.#comeTo(name, pid, pack);
    await waitUntil(
      () => !existsSync(node.failpointFile) || performance.now() > endMs,
      "a failpoint is not left",
    );
    if (existsSync(node.failpointFile)) rmSync(node.failpointFile, { force: true });
    else {
      this.#count(name);
      this.kills += 1;
      await node.dedupd(pid);
    }
    await coming;
  }

  async changeMood(): Promise<void> {
    this.#options.rig.registry.mood = this.#picker.oneOf(moods) ?? "honest";
    await Promise.resolve();
  }

  /** Of what was read through a layer; what was filled stays in its pack. */
  async dropCaches(): Promise<void> {
    const { mountPoint, files } = this.#pack();
    for (const { name } of files) dropCached(join(mountPoint, name));
    await Promise.resolve();
  }

  /** Removes a layer and adds it again: nothing of its content is there then. */
  async replacePack(): Promise<void> {
    await this.#replaceOne();
  }

  /** For a moment, in which dedupd may have to start again. */
  async fillTheDisk(): Promise<void> {
    using _full = await fillDisk(this.#options.rig.node.root);
    await Bun.sleep(this.#picker.integer(fullDiskMsMax));
    if (this.#picker.integer(2) === 0) await this.killDedupd();
    await Bun.sleep(this.#picker.integer(fullDiskMsMax));
  }

  async #replaceOne(): Promise<TorturePack> {
    const { rig, hungMs } = this.#options;
    const { node, registry } = rig;
    const pack = this.#pack();
    pack.isReplaced = true;
    registry.mood = "honest";
    await waitUntil(() => pack.readers === 0, "a reader goes on", hungMs);
    // A process that has read may take a moment to be gone.
    await this.#insist(async () => pack.unmount());
    await this.#insist(() => node.control.withdraw(pack.packId));
    pack.remove();
    pack.write(rig.image);
    await this.#insist(() => rig.mount(pack));
    pack.isReplaced = false;
    return pack;
  }

  /** @param pack that has nothing of its content */
  async #comeTo(name: Failpoint, pid: number, pack: TorturePack): Promise<void> {
    const { node } = this.#options.rig;
    const isOnce = pointsOfStart.has(name) || !pointsOfReads.has(name);
    const visits = isOnce ? 1 : 1 + this.#picker.integer(failpointVisitsMax);
    writeFileSync(node.failpointFile, `${name}:${visits}`);
    if (pointsOfStart.has(name)) {
      process.kill(pid, "SIGKILL");
      this.kills += 1;
    } else if (name === "withdraw.marked") await this.replacePack();
    else if (!pointsOfReads.has(name))
      await this.#insist(() => node.control.prefetch(pack.packId, {}));
  }

  #pack(): TorturePack {
    const pack = this.#picker.oneOf(this.#options.rig.packs);
    if (pack === undefined) throw new Error("there is nothing to torture");
    return pack;
  }

  /** A call may meet a dedupd that is being replaced. */
  async #insist<T>(call: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (attempt === attemptsMax) throw error;
        await Bun.sleep(pauseMsMax);
      }
    }
  }

  async #kill(
    victims: { dedupd?: true; keeper?: true; serve?: true },
    how: "SIGKILL" | "SIGTERM" = "SIGKILL",
  ): Promise<void> {
    const { node } = this.#options.rig;
    await this.#letWork();
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

  /**
   * For up to as long as the last takeover took: on a machine where processes are killed as soon as
   * they are up, nothing would ever be read.
   */
  async #letWork(): Promise<void> {
    await this.#options.rig.node.settled();
    const share = this.#picker.integer(100) / 100;
    await Bun.sleep(share * (this.takeoversMs.at(-1) ?? pauseMsMax));
  }

  #count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }
}

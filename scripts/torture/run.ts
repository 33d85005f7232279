/**
 * Readers of lazy layers that verify every byte, while an adversary kills the processes that serve
 * them, and worse.
 *
 * @module
 */
import { join } from "node:path";
import type { Fault } from "../../src/util/failpoint.ts";
import { waitUntil } from "../lib/process.ts";
import { Adversary } from "./adversary.ts";
import { growth, takeCensus } from "./census.ts";
import type { NodeOptions } from "./node.ts";
import { type ReadCounts, Readers } from "./readers.ts";
import { Rig } from "./rig.ts";

export interface TortureOptions {
  readonly backend: NodeOptions["backend"];
  /** Replays what is done and what is read; not the timing, which is the machine's. */
  readonly seed: string;
  /** Asked before each thing that is done. */
  readonly isOver: (kills: number) => boolean;
  /** Of all layers together, about. */
  readonly megabytes: number;
  readonly readers?: number;
  /** A reader that takes longer waits for something that will not come. */
  readonly hungMs: number;
  /** What dedupd does wrong, to see that it is found. */
  readonly fault?: Fault;
}

export interface TortureReport {
  readonly kills: number;
  readonly actions: ReadonlyMap<string, number>;
  /** Failpoints at which nobody was killed. */
  readonly unvisited: readonly string[];
  readonly takeoversMs: readonly number[];
  readonly reads: ReadCounts;
  /** Answers of the registry that were no answers. */
  readonly lies: number;
  /** What the processes have in the end and had not in the beginning. */
  readonly leaks: readonly string[];
}

const copyMegabytes = 18;
const copiesMax = 3;
const leaksGoneMs = 20_000;

/** @param folder on a disk file system; mounts and processes below it are gone in the end */
export async function torture(folder: string, options: TortureOptions): Promise<TortureReport> {
  const { backend, seed, hungMs, fault, megabytes } = options;
  const copies = Math.min(copiesMax, Math.ceil(megabytes / (8 * copyMegabytes)));
  const packs = Math.ceil(megabytes / (copies * copyMegabytes));
  await using rig = await Rig.open(folder, { backend, seed, fault, copies, packs });
  const { node, registry } = rig;
  const adversary = new Adversary({ rig, backend, seed, hungMs });
  const spoilt = adversary.spoilStart();
  await rig.start();
  await spoilt;
  const before = await takeCensus(node, folder);
  const count = options.readers ?? 8;
  const readers = new Readers({ packs: rig.packs, count, seed, hungMs, folder: join(folder, "r") });
  const { problems } = readers.counts;
  let leaks: string[] = [];
  try {
    while (!options.isOver(adversary.kills) && problems.length === 0) await adversary.act();
    adversary.relent();
    await readers.stop();
    if (problems.length === 0) leaks = await findLeaks(rig, before);
  } catch (error) {
    problems.push(`the adversary does not get on: ${String(error)}`);
    adversary.relent();
    await readers.stop();
  }
  if (problems.length > 0) process.stderr.write(rig.logEnd());
  const { kills, counts: actions, takeoversMs, unvisited } = adversary;
  const reads = readers.counts;
  return { kills, actions, unvisited, takeoversMs, reads, lies: registry.lies, leaks };
}

/** What is still there after a while in which nobody reads. */
async function findLeaks({ node, folder }: Rig, before: ReadonlyMap<string, number>) {
  const endMs = performance.now() + leaksGoneMs;
  let leaks: string[] = [];
  await waitUntil(async () => {
    leaks = growth(before, await takeCensus(node, folder));
    return leaks.length === 0 || performance.now() > endMs;
  }, "the node does not come to rest");
  return leaks;
}

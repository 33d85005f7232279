/**
 * Readers of lazy layers that verify every byte, while an adversary kills the processes that serve
 * them, and worse.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import type { MountMode } from "../../src/mount/contract.ts";
import type { BackendName } from "../../src/ondemand/contract.ts";
import type { Fault } from "../../src/util/failpoint.ts";
import { Adversary } from "./adversary.ts";
import { MoodyRegistry } from "./moody-registry.ts";
import { readTimeoutMs, TortureNode } from "./node.ts";
import { TorturePack } from "./packs.ts";
import { type ReadCounts, Readers } from "./readers.ts";

export interface TortureOptions {
  readonly backend: Exclude<BackendName, "eager">;
  /** Replays what is done and what is read; not the timing, which is the machine's. */
  readonly seed: string;
  /** Asked before each thing that is done. */
  readonly isOver: (kills: number) => boolean;
  readonly readers?: number;
  /** A reader that takes longer waits for something that will not come. */
  readonly hungMs?: number;
  /** What dedupd does wrong, to see that it is found. */
  readonly fault?: Fault;
}

export interface TortureReport {
  readonly kills: number;
  readonly actions: ReadonlyMap<string, number>;
  readonly takeoversMs: readonly number[];
  readonly reads: ReadCounts;
  /** Answers of the registry that were no answers. */
  readonly lies: number;
}

const packIds = [512, 513, 514] as const;
const mode: MountMode = { method: "file", directIo: true };

/** @param folder on a disk file system; mounts and processes below it are gone in the end */
export async function torture(folder: string, options: TortureOptions): Promise<TortureReport> {
  const { backend, seed, hungMs = 2 * readTimeoutMs, fault } = options;
  const packs = packIds.map((packId) => new TorturePack(folder, packId, seed));
  await using registry = new MoodyRegistry(packs.map(({ fixture }) => fixture));
  await using node = new TortureNode(folder, { backend, fault });
  for (const pack of packs) pack.write(`${registry.authority}/app:1`);
  node.startServe(packIds);
  await node.dedupd();
  await using mounted = new AsyncDisposableStack();
  for (const pack of packs) {
    pack.mount(await node.control.expose(pack.packId), mode);
    mounted.defer(() => pack.unmount());
  }
  await node.settled();
  const adversary = new Adversary({ node, registry, packs, mode, seed });
  const readers = new Readers(packs, options.readers ?? 8, seed, hungMs);
  const isOver = () => options.isOver(adversary.kills) || readers.counts.problems.length > 0;
  try {
    while (!isOver()) await adversary.act();
  } finally {
    adversary.relent();
    await readers.stop();
  }
  if (readers.counts.problems.length > 0) process.stderr.write(readFileSync(node.logFile));
  const { kills, counts: actions, takeoversMs } = adversary;
  return { kills, actions, takeoversMs, reads: readers.counts, lies: registry.lies };
}

import { describe, expect, test } from "bun:test";
import { waitUntil } from "../../../scripts/lib/process.ts";
import { AppError } from "../../../src/errors.ts";
import { Maintenance } from "../../../src/layer/maintenance.ts";
import { Pacer } from "../../../src/layer/pacer.ts";
import type { RewriteRequest } from "../../../src/layer/rewrite.ts";
import type { ConvertedLayer } from "../../../src/snapshot/contract.ts";
import { RecordingLog } from "../snapshot/fakes.ts";

/** Layers that are outdated until they are rewritten, which gives them a number 100 higher. */
class FakeNode {
  readonly outdated = new Set<number>();
  /** Outdated, too, but no snapshot has them any more. */
  readonly replaced = new Set<number>();
  readonly rewritten: number[] = [];
  readonly failures = new Map<number, AppError[]>();
  /** How often bundles were looked at. */
  compactions = 0;
  readonly memory = { isWanted: false };
  isWanted = false;
  readonly log = new RecordingLog();
  /** What rewriting waits for. */
  gate: Promise<unknown> = Promise.resolve();
  readonly maintenance: Maintenance;

  constructor(compactionDelayMs?: number) {
    const outdatedLayers = () => [...this.outdated].map((layer) => ({ layer, bytes: 10 }));
    const condemnBundles = () => {
      this.compactions += 1;
      return { bundles: 0, layers: 0, freedBytes: 0, writtenBytes: 0 };
    };
    const calls: Record<string, () => unknown> = { outdatedLayers, condemnBundles };
    this.maintenance = new Maintenance({
      layers: {
        rewrite: (request) => this.#rewrite(request),
        exclusively: (task) => task(),
      },
      housekeeper: { call: async <Result>(name: string) => calls[name]?.() as Result },
      pacer: new Pacer({ bytesPerSecond: 1e12, isBusy: () => false }),
      setting: 3,
      isReferenced: (layerId) => !this.replaced.has(layerId),
      hasStale: () => this.outdated.size > 0,
      compactionDelayMs,
      memory: this.memory,
      log: this.log,
    });
  }

  async #rewrite({ layerId }: RewriteRequest): Promise<ConvertedLayer> {
    this.rewritten.push(layerId);
    await this.gate;
    const failure = this.failures.get(layerId)?.shift();
    if (failure !== undefined) throw failure;
    this.outdated.delete(layerId);
    return { layerId: layerId + 100, addedBytes: 7, inodes: 1, reused: false };
  }

  async ended(): Promise<void> {
    const isIdle = async () => this.maintenance.status().running === null;
    await waitUntil(isIdle, "it does not end");
  }
}

function failuresOf(code: "unavailable" | "data_loss" | "resource_exhausted", count: number) {
  return Array.from({ length: count }, () => new AppError(code, `it is ${code}`));
}

describe("Maintenance", () => {
  test("rewrites one layer after the other, also those that came meanwhile", async () => {
    const node = new FakeNode();
    node.outdated.add(1).add(2).add(9);
    node.replaced.add(9);
    node.gate = Promise.resolve().then(() => node.outdated.add(3));
    expect(await node.maintenance.plan()).toEqual({ layers: 2, content_bytes: 20 });
    expect(node.maintenance.recompress()).toMatchObject({ running: "recompress", wanted: true });
    await node.ended();
    expect(node.rewritten).toEqual([1, 2, 3]);
    const { recompress, wanted } = node.maintenance.status();
    expect(recompress).toMatchObject({ layers_done: 3, layers_left: 0, written_bytes: 21 });
    expect(wanted).toBe(false);
  });

  test("ends where its end cannot be noted, for it would begin again without end", async () => {
    const node = new FakeNode();
    node.outdated.add(1);
    Object.defineProperty(node.memory, "isWanted", {
      get: () => node.isWanted,
      set: (isWanted: boolean) => {
        if (!isWanted) throw new AppError("data_loss", 'Cannot sync "snapshots.db-wal"');
        node.isWanted = true;
      },
    });
    node.maintenance.recompress();
    await node.ended();
    expect(node.rewritten).toEqual([1]);
    expect(node.maintenance.status()).toMatchObject({ running: null, wanted: true });
    expect(node.log.messages("error")).toEqual(["no work in the background until the next start"]);
  });

  test("leaves a layer that fails as it is, and goes on with the others", async () => {
    const node = new FakeNode();
    node.outdated.add(1).add(2);
    node.failures.set(1, failuresOf("data_loss", 9));
    node.maintenance.recompress();
    await node.ended();
    expect(node.rewritten).toEqual([1, 2]);
    const { recompress } = node.maintenance.status();
    expect(recompress).toMatchObject({ layers_done: 1, layers_failed: 1 });
    expect(recompress.problem).toBe("it is data_loss");
  });

  test("tries a layer that is in use some more times, behind the others", async () => {
    const node = new FakeNode();
    node.outdated.add(1).add(2);
    node.failures.set(1, failuresOf("unavailable", 1));
    node.maintenance.recompress();
    await node.ended();
    expect(node.rewritten).toEqual([1, 2, 1]);
    node.outdated.add(1);
    node.failures.set(1, failuresOf("unavailable", 99));
    node.maintenance.recompress();
    await node.ended();
    expect(node.rewritten).toEqual([1, 2, 1, 1, 1, 1]);
  });

  test("ends at once where the disk is full", async () => {
    const node = new FakeNode();
    node.outdated.add(1).add(2);
    node.failures.set(1, failuresOf("resource_exhausted", 1));
    node.maintenance.recompress();
    await node.ended();
    expect(node.rewritten).toEqual([1]);
    expect(node.maintenance.status().recompress.problem).toBe("it is resource_exhausted");
    expect(node.memory.isWanted).toBe(false);
  });

  test("remembers at the end what was wanted, but not what was cancelled", async () => {
    for (const isCancelled of [true, false]) {
      const node = new FakeNode();
      node.outdated.add(1).add(2);
      const { promise, resolve } = Promise.withResolvers<void>();
      node.gate = promise;
      node.maintenance.recompress();
      await waitUntil(async () => node.rewritten.length > 0, "nothing begins");
      const ended = isCancelled ? node.maintenance.cancel() : node.maintenance.close();
      resolve();
      await ended;
      expect(node.rewritten).toEqual([1]);
      expect(node.memory.isWanted).toBe(!isCancelled);
    }
  });

  test("compacts after deletions, and shows the last run that found something", async () => {
    const node = new FakeNode(0);
    node.outdated.add(1);
    for (let round = 0; round < 2; round++) {
      node.maintenance.compactLater();
      node.maintenance.compactLater();
      await waitUntil(async () => node.compactions > round, "nothing begins");
      await node.ended();
    }
    expect(node.compactions).toBe(2);
    expect(node.rewritten).toEqual([1]);
    expect(node.maintenance.status().compact).toMatchObject({ layers_done: 1 });
  });

  test("goes on at the start with what was not finished", async () => {
    const node = new FakeNode();
    node.outdated.add(1);
    node.maintenance.start();
    await node.ended();
    expect(node.rewritten).toEqual([1]);
    expect(node.maintenance.status().compact.layers_done).toBe(1);
    // Without a delay bundles are never compacted.
    expect(node.compactions).toBe(0);
  });
});

import { describe, expect, jest, spyOn, test } from "bun:test";
import { AppError } from "../../../src/errors.ts";
import { LayerDeleter } from "../../../src/layer/layer-deleter.ts";
import { PackAllocator } from "../../../src/store/pack-allocator.ts";
import { storePaths } from "../../../src/store/paths.ts";
import { Mutex } from "../../../src/util/mutex.ts";
import type { WorkerPool } from "../../../src/workers.ts";
import { RecordingLog } from "../snapshot/fakes.ts";

class Fixture {
  readonly steps: string[] = [];
  readonly log = new RecordingLog();
  readonly referenced = new Set<number>();
  failure: AppError | undefined;
  /** By layer. */
  readonly lazyPacks = new Map<number, number>();
  /** Layers whose image is open. */
  readonly inUse: number[] = [];
  letGo: () => Promise<void> = () => Promise.resolve();
  lazyPacksOf = (layerIds: readonly number[]): number[] =>
    layerIds.flatMap((layerId) => this.lazyPacks.get(layerId) ?? []);
  readonly allocator = new PackAllocator(storePaths("/nowhere"));
  readonly deleter = new LayerDeleter({
    lock: new Mutex(),
    housekeeper: this.#housekeeper(),
    allocator: this.allocator,
    mounts: { evict: async (layerId) => void this.steps.push(`evict ${layerId}`) },
    isReferenced: (layerId) => this.referenced.has(layerId),
    durable: async () => {
      this.steps.push("sync");
      if (this.failure !== undefined) throw this.failure;
    },
    isProtected: () => false,
    isPackEmpty: () => false,
    lazyPacksOf: (layerIds) => this.lazyPacksOf(layerIds),
    letGoOfPacks: (packIds) => {
      this.steps.push(`let go ${packIds.join()}`);
      return this.letGo();
    },
    onOutdated: () => undefined,
    log: this.log,
  });

  #housekeeper(): Pick<WorkerPool, "call"> {
    return {
      call: async <Result>(name: string, argument?: unknown) => {
        const { layerIds } = argument as { readonly layerIds: readonly number[] };
        this.steps.push(`${name} ${layerIds.join()}`);
        for (const id of layerIds) if (!this.inUse.includes(id)) this.lazyPacks.delete(id);
        return this.inUse as Result;
      },
    };
  }
}

describe("LayerDeleter", () => {
  test("says what fails when it tries again, and goes on", async () => {
    jest.useFakeTimers();
    try {
      const fixture = new Fixture();
      fixture.inUse.push(1);
      await fixture.deleter.release([1]);
      fixture.lazyPacksOf = () => {
        throw new Error("the index is damaged");
      };
      jest.advanceTimersByTime(60_000);
      for (let turn = 0; turn < 50; turn++) await Promise.resolve();
      expect(fixture.log.messages("error")).toEqual(["cannot delete layers"]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("deletes what no snapshot has once that is on disk, and nothing else", async () => {
    const fixture = new Fixture();
    fixture.referenced.add(2);
    await fixture.deleter.release([1, 2, 3]);
    expect(fixture.steps).toEqual(["evict 1", "evict 3", "sync", "deleteLayers 1,3"]);
    await fixture.deleter.close();
    expect(fixture.steps).toHaveLength(4);
  });

  test("keeps a layer that a snapshot may have again after a loss of power", async () => {
    const fixture = new Fixture();
    fixture.failure = new AppError("data_loss", "cannot sync");
    await fixture.deleter.release([1]);
    await fixture.deleter.close();
    expect(fixture.steps).not.toContain("deleteLayers 1");
    expect(fixture.log.messages("error")).toContain("cannot delete layers");
  });

  test("has others let go of the packs that are gone, and not of those that stay", async () => {
    const fixture = new Fixture();
    fixture.lazyPacks.set(1, 512).set(2, 513);
    fixture.inUse.push(2);
    const held = spyOn(fixture.allocator, "hold");
    const freed = spyOn(fixture.allocator, "unhold");
    fixture.letGo = () => Promise.reject(new AppError("unavailable", "nobody answers"));
    await fixture.deleter.release([1, 2]);
    expect(fixture.steps.slice(-2)).toEqual(["deleteLayers 1,2", "let go 512"]);
    expect(held).toHaveBeenCalledWith([512, 513]);
    expect(fixture.log.messages("warn")).toEqual(["packs are deleted, but may be open"]);
    expect(freed).toHaveBeenCalledWith([512, 513]);
    fixture.inUse.length = 0;
    await fixture.deleter.close();
  });
});

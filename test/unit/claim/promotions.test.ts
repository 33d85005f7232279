import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { Promotions } from "../../../src/claim/promotions.ts";
import { AppError } from "../../../src/errors.ts";
import type { ConvertedLayer } from "../../../src/snapshot/contract.ts";
import { RecordingLog } from "../snapshot/fakes.ts";

class FakeLayers {
  readonly calls: string[] = [];
  readonly failures: unknown[] = [];
  readonly gone = new Set<number>();
  running = 0;

  async markComplete(packId: number): Promise<void> {
    this.calls.push(`mark ${packId}`);
  }

  async promote(layerId: number): Promise<ConvertedLayer | undefined> {
    this.calls.push(`promote ${layerId}`);
    this.running += 1;
    expect(this.running).toBe(1);
    await Promise.resolve();
    this.running -= 1;
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    if (this.gone.has(layerId)) return undefined;
    return { layerId: layerId + 100, addedBytes: 1, inodes: 1, reused: false };
  }
}

let layers: FakeLayers;
let log: RecordingLog;
let promotions: Promotions;

beforeEach(() => {
  jest.useFakeTimers();
  layers = new FakeLayers();
  log = new RecordingLog();
  promotions = new Promotions({ layers, log });
});

afterEach(async () => {
  jest.useRealTimers();
  await promotions.close();
});

describe("Promotions", () => {
  test("promotes one layer after the other, and notes first that it is complete", async () => {
    promotions.add({ packId: 512, layerId: 1, isComplete: false });
    promotions.add({ packId: 513, layerId: 2, isComplete: true });
    promotions.add({ packId: 512, layerId: 1, isComplete: false });
    await promotions.idle();
    expect(layers.calls).toEqual(["mark 512", "promote 1", "promote 2"]);
    expect(promotions.counts).toEqual({ promoted: 2, failed: 0 });
  });

  test("leaves a layer that nobody has any more", async () => {
    layers.gone.add(1);
    promotions.add({ packId: 512, layerId: 1, isComplete: true });
    await promotions.idle();
    expect(promotions.counts).toEqual({ promoted: 0, failed: 0 });
    expect(log.lines).toEqual([]);
  });

  test("tries again what fails, ever more seldom", async () => {
    layers.failures.push(new AppError("data_loss", "wrong"), new AppError("unavailable", "busy"));
    promotions.add({ packId: 512, layerId: 1, isComplete: true });
    await promotions.idle();
    jest.advanceTimersByTime(9_999);
    expect(layers.calls).toHaveLength(1);
    jest.advanceTimersByTime(1);
    await promotions.idle();
    jest.advanceTimersByTime(19_999);
    expect(layers.calls).toHaveLength(2);
    jest.advanceTimersByTime(1);
    await promotions.idle();
    expect(promotions.counts).toEqual({ promoted: 1, failed: 2 });
    expect(log.lines.map(({ level }) => level)).toEqual(["warn", "info", "info"]);
  });

  test("ends with the daemon: nothing is tried again", async () => {
    layers.failures.push(new AppError("cancelled", "the daemon stops"));
    promotions.add({ packId: 512, layerId: 1, isComplete: true });
    promotions.add({ packId: 513, layerId: 2, isComplete: true });
    await promotions.close();
    promotions.add({ packId: 514, layerId: 3, isComplete: true });
    jest.advanceTimersByTime(1e7);
    expect(layers.calls).toEqual(["promote 1"]);
    expect(log.lines).toEqual([]);
  });
});

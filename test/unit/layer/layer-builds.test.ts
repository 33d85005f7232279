import { describe, expect, test } from "bun:test";
import { AppError, type ErrorCode } from "../../../src/errors.ts";
import { LayerBuilds } from "../../../src/layer/layer-builds.ts";
import type { PackAllocator } from "../../../src/store/pack-allocator.ts";
import { Mutex } from "../../../src/util/mutex.ts";
import type { WorkerPool, WorkerThread } from "../../../src/workers.ts";
import { rejection } from "../../support/rejection.ts";
import { RecordingLog } from "../snapshot/fakes.ts";

/** A thread that builds everything and can publish nothing. */
class Fixture {
  attempts = 0;
  readonly builds: LayerBuilds;

  constructor(failure: Error) {
    const thread: WorkerThread = {
      call: (name) => (name === "publish" ? Promise.reject(failure) : (Promise.resolve() as never)),
    };
    const pool = { use: (task: (thread: WorkerThread) => unknown) => task(thread) };
    const allocator = {
      begin: () => ({ ranges: [] }),
      end: () => undefined,
      dropLazyPack: () => undefined,
    };
    this.builds = new LayerBuilds({
      lock: new Mutex(),
      allocator: allocator as unknown as PackAllocator,
      builders: pool as unknown as WorkerPool,
      earlyBuilders: { ...pool } as unknown as WorkerPool,
      protect: () => undefined,
      onOutdated: () => undefined,
      onIdle: () => undefined,
      log: new RecordingLog(),
    });
  }

  build(): Promise<unknown> {
    return this.builds.build("a", async () => void (this.attempts += 1));
  }
}

describe("LayerBuilds", () => {
  test("leaves to others what it has read and cannot publish", async () => {
    const fixture = new Fixture(new Error("the index is damaged"));
    const error = await rejection(fixture.build());
    expect(error).toMatchObject({
      code: "unimplemented",
      message: "Cannot publish the layer: the index is damaged",
    });
    expect([fixture.attempts, fixture.builds.counts.failed]).toEqual([1, 1]);
  });

  test.each<[ErrorCode, number]>([
    ["unavailable", 3],
    ["resource_exhausted", 1],
  ])("says %s as it is, after %p attempts", async (code, attempts) => {
    const failure = new AppError(code, "it failed");
    const fixture = new Fixture(failure);
    expect(await rejection(fixture.build())).toBe(failure);
    expect(fixture.attempts).toBe(attempts);
  });
});

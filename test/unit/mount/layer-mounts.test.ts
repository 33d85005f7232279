import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { existsSync, mkdirSync } from "node:fs";
import type { MountMethod } from "../../../src/mount/contract.ts";
import { NodeLayerMounts } from "../../../src/mount/layer-mounts.ts";
import { parseMountInfo } from "../../../src/mount/mountinfo.ts";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { rejection } from "../../support/rejection.ts";
import { FakeDriver } from "./fake-driver.ts";

const idleMs = 1000;
let scratch: ScratchFolder;
let driver: FakeDriver;
let warnings: string[];
let mounts: NodeLayerMounts;

const quiet = (): void => undefined;
const warn = (_fields: object, message: string): void => void warnings.push(message);

function start(method: MountMethod = "file"): NodeLayerMounts {
  return new NodeLayerMounts({
    directory: scratch.path,
    driver,
    method,
    source: (layerId) => ({ image: `/images/${layerId}`, packs: [] }),
    idleMs,
    log: { debug: quiet, info: quiet, warn, error: quiet },
  });
}

const at = (layerId: number | string) => `${scratch.path}/${layerId}`;

/** Lets the time of idle layers pass, and what it starts come to an end. */
async function passIdleTime(): Promise<void> {
  jest.advanceTimersByTime(idleMs);
  await settle();
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

beforeEach(() => {
  jest.useFakeTimers();
  scratch = scratchFolder("unit");
  driver = new FakeDriver();
  warnings = [];
  mounts = start();
});

afterEach(() => {
  jest.useRealTimers();
  scratch[Symbol.dispose]();
});

describe("NodeLayerMounts.acquire()", () => {
  test("mounts nothing whose content cannot be had, and asks again the next time", async () => {
    let failure: Error | undefined = new Error("nobody serves it");
    const source = async (layerId: number) => {
      if (failure !== undefined) throw failure;
      return { image: `/images/${layerId}`, packs: [] };
    };
    const lazy = new NodeLayerMounts({
      directory: scratch.path,
      driver,
      method: "file",
      source,
      idleMs,
    });
    expect(await rejection(lazy.acquire("a", [1]))).toBe(failure);
    expect(driver.calls).toEqual([]);
    failure = undefined;
    await lazy.acquire("a", [1]);
    expect(driver.calls).toEqual([`mount ${at(1)}`]);
  });

  test("mounts each layer once, however many ask at the same time", async () => {
    const first = mounts.acquire("a", [1, 2, 2]);
    const second = mounts.acquire("b", [2, 3]);
    await Promise.all([first, second]);
    await mounts.acquire("c", [1]);
    expect(driver.calls.toSorted()).toEqual([1, 2, 3].map((id) => `mount ${at(id)}`));
    expect(mounts.counts()).toEqual({ file: 3, loop: 0 });
  });

  test("rejects when a mount fails, and gives back what it took", async () => {
    await mounts.acquire("a", [1]);
    driver.failing.add(`mount ${at(2)}`);
    expect(mounts.acquire("b", [1, 2, 3])).rejects.toThrow(`mount ${at(2)} failed`);
    await settle();
    await passIdleTime();
    expect([...driver.mounted]).toEqual([at(1)]);
  });

  test("keeps, after a failure, what the holder held before", async () => {
    await mounts.acquire("a", [1]);
    driver.failing.add(`mount ${at(2)}`);
    expect(mounts.acquire("a", [1, 2])).rejects.toThrow("failed");
    await settle();
    await passIdleTime();
    expect([...driver.mounted]).toEqual([at(1)]);
  });

  test("tries again after a failure", async () => {
    driver.failing.add(`mount ${at(1)}`);
    expect(mounts.acquire("a", [1])).rejects.toThrow("failed");
    await settle();
    driver.failing.clear();
    await mounts.acquire("a", [1]);
    expect([...driver.mounted]).toEqual([at(1)]);
  });

  test("mounts again what was just being unmounted", async () => {
    await mounts.acquire("a", [1]);
    const { promise, resolve } = Promise.withResolvers<void>();
    driver.gate = promise;
    mounts.release("a");
    await passIdleTime();
    const acquired = mounts.acquire("b", [1]);
    await settle();
    expect(driver.calls).toEqual([`mount ${at(1)}`, `unmount ${at(1)}`]);
    resolve();
    await acquired;
    await passIdleTime();
    expect(driver.calls.at(-1)).toBe(`mount ${at(1)}`);
    expect([...driver.mounted]).toEqual([at(1)]);
  });
});

describe("NodeLayerMounts.release()", () => {
  test("unmounts after the idle time, when the last holder is gone", async () => {
    await mounts.acquire("a", [1, 2]);
    await mounts.acquire("b", [2]);
    mounts.release("a");
    mounts.release("unknown");
    expect(driver.mounted.size).toBe(2);
    await passIdleTime();
    expect([...driver.mounted]).toEqual([at(2)]);
    expect(mounts.counts().file).toBe(1);
  });

  test("leaves the layer to who acquires it within the idle time", async () => {
    await mounts.acquire("a", [1]);
    mounts.release("a");
    jest.advanceTimersByTime(idleMs - 1);
    await mounts.acquire("b", [1]);
    await passIdleTime();
    expect(driver.calls).toEqual([`mount ${at(1)}`]);
  });

  test("unmounts a layer whose holder went while it was being mounted", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    driver.gate = promise;
    const acquired = mounts.acquire("a", [1]);
    await settle();
    mounts.release("a");
    resolve();
    await acquired;
    await passIdleTime();
    expect(driver.mounted.size).toBe(0);
  });

  test("logs a layer that cannot be unmounted, and tries again", async () => {
    await mounts.acquire("a", [1]);
    driver.failing.add(`unmount ${at(1)}`);
    mounts.release("a");
    await passIdleTime();
    expect(warnings).toEqual(["layer 1 stays mounted"]);
    driver.failing.clear();
    await passIdleTime();
    expect(driver.mounted.size).toBe(0);
  });
});

describe("NodeLayerMounts.evict()", () => {
  test("does not wait for a mount that waits for its content", async () => {
    const gate = Promise.withResolvers<void>();
    driver.gate = gate.promise;
    const isMounted = mounts.acquire("a", [1]);
    expect(await rejection(mounts.evict(1))).toMatchObject({ code: "failed_precondition" });
    gate.resolve();
    await isMounted;
  });

  test("unmounts at once what nobody holds", async () => {
    await mounts.acquire("a", [1]);
    mounts.release("a");
    await mounts.evict(1);
    expect(driver.mounted.size).toBe(0);
    await mounts.evict(1);
    await mounts.evict(99);
    await passIdleTime();
    expect(driver.calls).toEqual([`mount ${at(1)}`, `unmount ${at(1)}`]);
  });

  test("rejects for a layer that is held, and where unmounting fails", async () => {
    await mounts.acquire("a", [1]);
    expect(mounts.evict(1)).rejects.toThrow("Layer 1 is in use");
    await settle();
    mounts.release("a");
    driver.failing.add(`unmount ${at(1)}`);
    expect(mounts.evict(1)).rejects.toThrow("failed");
    await settle();
    expect([...driver.mounted]).toEqual([at(1)]);
  });
});

/** What mountinfo has for a mounted layer. */
const line = (layerId: number, source: string) =>
  `${layerId} 0 0:9 / ${at(layerId)} ro - erofs ${source} ro`;

describe("NodeLayerMounts.adopt()", () => {
  test("keeps what is in use, unmounts the rest, names what is missing", async () => {
    for (const name of [1, 2, 4, "junk"]) mkdirSync(at(name));
    for (const name of [1, 2, 4]) driver.mounted.add(at(name));
    const entries = parseMountInfo(
      [line(1, "/i"), line(2, "/dev/loop1"), line(4, "/i")].join("\n"),
    );
    const inUse = new Map([
      [1, ["a"]],
      [2, ["a", "b"]],
      [3, ["b"]],
    ]);
    expect(await mounts.adopt(entries, inUse)).toEqual({ adopted: [1, 2], missing: [3] });
    expect(driver.calls.toSorted()).toEqual([`unmount ${at(4)}`, `unmount ${at("junk")}`]);
    expect(mounts.counts()).toEqual({ file: 1, loop: 1 });

    await mounts.acquire("b", [2, 3]);
    mounts.release("a");
    await passIdleTime();
    expect([...driver.mounted].toSorted()).toEqual([at(2), at(3)]);
  });

  test("goes on where a stray mount is busy", async () => {
    mkdirSync(at(5));
    driver.failing.add(`unmount ${at(5)}`);
    expect(await mounts.adopt([], new Map())).toEqual({ adopted: [], missing: [] });
    expect(warnings).toEqual(["a mount that nothing needs stays"]);
  });

  test("makes the directory", async () => {
    scratch[Symbol.dispose]();
    await mounts.adopt([], new Map());
    expect(existsSync(scratch.path)).toBe(true);
  });
});

describe("NodeLayerMounts.shutdown()", () => {
  test("unmounts what nobody holds, leaves the rest, takes no more", async () => {
    mounts = start("loop");
    await mounts.acquire("a", [1, 2]);
    await mounts.acquire("b", [2]);
    mounts.release("a");
    await mounts.shutdown();
    expect([...driver.mounted]).toEqual([at(2)]);
    expect(mounts.counts()).toEqual({ file: 0, loop: 1 });
    mounts.release("b");
    await passIdleTime();
    expect([...driver.mounted]).toEqual([at(2)]);
    expect(mounts.acquire("c", [1])).rejects.toThrow("shutting down");
  });
});

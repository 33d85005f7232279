import { describe, expect, test } from "bun:test";
import type { DedupdEvents, DedupdStatus } from "../../../src/ondemand/control.ts";
import type { DetachedProcess } from "../../../src/ondemand/own-process.ts";
import { Supervisor } from "../../../src/ondemand/supervisor.ts";
import { createLogger } from "../../../src/log.ts";

/** Nothing happens until nobody listens any more. */
function events(_after: number, { signal }: { signal?: AbortSignal } = {}): Promise<DedupdEvents> {
  return new Promise((_resolve, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}

interface Surroundings {
  readonly hasExposed: boolean;
  readonly startDedupd?: () => DetachedProcess;
  readonly endKeeper?: () => Promise<void>;
  /** Default: dedupd never answers. */
  readonly status?: () => Promise<DedupdStatus>;
}

function supervisorIn(surroundings: Surroundings): Supervisor {
  const { hasExposed, startDedupd, endKeeper = async () => {} } = surroundings;
  const { status = () => Promise.reject(new Error("Nobody answers")) } = surroundings;
  return new Supervisor({
    control: { status, events, packs: async () => [] },
    generation: "",
    startDedupd,
    openKeeper: () => undefined,
    endKeeper,
    hasExposed: () => hasExposed,
    log: createLogger("silent"),
  });
}

describe("Supervisor.begin()", () => {
  test("resolves when dedupd was started, and does not wait until it answers", async () => {
    let isStarted = false;
    const startDedupd = () => {
      isStarted = true;
      return { pid: 2 ** 30, exited: Promise.withResolvers<void>().promise };
    };
    const supervisor = supervisorIn({ hasExposed: true, startDedupd });
    await supervisor.begin();
    expect(isStarted).toBe(true);
    await supervisor.close();
  });
});

describe("Supervisor.close()", () => {
  test.each([
    [true, false],
    [false, true],
  ])("with packs on the disk (%p) ends dedupd that has none open: %p", async (hasExposed, ends) => {
    await using child = Bun.spawn(["sleep", "60"]);
    let isKeeperEnded = false;
    const supervisor = supervisorIn({
      hasExposed,
      endKeeper: async () => void (isKeeperEnded = true),
      status: async () => ({ pid: child.pid }) as DedupdStatus,
    });
    supervisor.start();
    await supervisor.running(10_000);
    await supervisor.close();
    expect(isKeeperEnded).toBe(ends);
    expect(child.killed || child.signalCode !== null).toBe(ends);
  });

  test.each([
    [true, false],
    [false, true],
  ])("with packs on the disk (%p) ends dedupd that starts: %p", async (hasExposed, ends) => {
    await using child = Bun.spawn(["sleep", "60"]);
    let isKeeperEnded = false;
    const started = Promise.withResolvers<void>();
    const startDedupd = () => {
      started.resolve();
      return { pid: child.pid, exited: Promise.withResolvers<void>().promise };
    };
    const endKeeper = async () => void (isKeeperEnded = true);
    const supervisor = supervisorIn({ hasExposed, startDedupd, endKeeper });
    supervisor.start();
    await started.promise;
    await supervisor.close();
    expect(isKeeperEnded).toBe(ends);
    expect(child.killed || child.signalCode !== null).toBe(ends);
  });
});

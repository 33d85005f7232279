import { describe, expect, test } from "bun:test";
import type { DedupdEvents, DedupdStatus } from "../../../src/ondemand/control.ts";
import { Supervisor } from "../../../src/ondemand/supervisor.ts";
import { createLogger } from "../../../src/log.ts";

/** Nothing happens until nobody listens any more. */
function events(_after: number, { signal }: { signal?: AbortSignal } = {}): Promise<DedupdEvents> {
  return new Promise((_resolve, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}

describe("Supervisor.begin()", () => {
  test("resolves when dedupd was started, and does not wait until it answers", async () => {
    const started = Promise.withResolvers<void>();
    const supervisor = new Supervisor({
      control: {
        status: () => Promise.reject(new Error("Nobody answers")),
        events,
        packs: async () => [],
      },
      generation: "",
      startDedupd: () => {
        started.resolve();
        return { pid: 2 ** 30, exited: Promise.withResolvers<void>().promise };
      },
      openKeeper: () => undefined,
      endKeeper: async () => undefined,
      hasExposed: () => true,
      log: createLogger("silent"),
    });
    await supervisor.begin();
    expect(Bun.peek.status(started.promise)).toBe("fulfilled");
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
    const supervisor = new Supervisor({
      control: {
        status: async () => ({ pid: child.pid }) as DedupdStatus,
        events,
        packs: async () => [],
      },
      generation: "",
      startDedupd: undefined,
      openKeeper: () => undefined,
      endKeeper: async () => void (isKeeperEnded = true),
      hasExposed: () => hasExposed,
      log: createLogger("silent"),
    });
    supervisor.start();
    await supervisor.running(10_000);
    await supervisor.close();
    expect(isKeeperEnded).toBe(ends);
    expect(child.killed || child.signalCode !== null).toBe(ends);
  });
});

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

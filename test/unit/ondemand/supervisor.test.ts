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

/** One whose dedupd never answers. */
function silentSupervisor(
  options: { readonly hasExposed: boolean; readonly standby: boolean },
  onStart: () => void,
): Supervisor {
  return new Supervisor({
    control: {
      status: () => Promise.reject(new Error("Nobody answers")),
      events,
      packs: async () => [],
    },
    generation: "",
    startDedupd: () => {
      onStart();
      return { pid: 2 ** 30, exited: Promise.withResolvers<void>().promise };
    },
    openKeeper: () => undefined,
    endKeeper: async () => undefined,
    hasExposed: () => options.hasExposed,
    standby: options.standby,
    log: createLogger("silent"),
  });
}

describe("Supervisor.begin()", () => {
  test("resolves when dedupd was started, and does not wait until it answers", async () => {
    let isStarted = false;
    const options = { hasExposed: true, standby: false };
    const supervisor = silentSupervisor(options, () => (isStarted = true));
    await supervisor.begin();
    expect(isStarted).toBe(true);
    await supervisor.close();
  });

  test("starts dedupd for standby where nothing is exposed, and waits for nothing", async () => {
    const started = Promise.withResolvers<void>();
    const options = { hasExposed: false, standby: true };
    const supervisor = silentSupervisor(options, started.resolve);
    await supervisor.begin();
    await started.promise;
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
      standby: false,
      log: createLogger("silent"),
    });
    supervisor.start();
    await supervisor.running(10_000);
    await supervisor.close();
    expect(isKeeperEnded).toBe(ends);
    expect(child.killed || child.signalCode !== null).toBe(ends);
  });
});

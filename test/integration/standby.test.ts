/** `lazy.standby`: what runs before it is needed ends with the daemon, whenever that is stopped. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { findLeftovers, releaseBelow } from "../../scripts/lib/leftovers.ts";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { TestDaemon } from "../support/daemon.ts";

/** From at once until dedupd surely answers, which takes some 100 ms. */
const delaysMs = [0, 5, 10, 20, 40, 80, 160, 320];

test("dedupd and the keeper run, and end with a daemon that has nothing for them", async () => {
  using folder = scratchFolder("standby");
  await using daemon = await TestDaemon.start(join(folder.path, "d"), { standby: true });
  const answers = async () => (await daemon.dedupd.status().catch(() => undefined)) !== undefined;
  await waitUntil(answers, "no dedupd");
  await daemon.stop();
  expect(findLeftovers(folder.path)).toEqual([]);
});

test.each(delaysMs)("they end also where it is stopped %p ms after the start", async (delayMs) => {
  using folder = scratchFolder("standby");
  try {
    const daemon = await TestDaemon.start(join(folder.path, "d"), { standby: true });
    await Bun.sleep(delayMs);
    await daemon.stop();
    // A keeper that finds another one ends by itself, at once.
    await waitUntil(() => findLeftovers(folder.path).length === 0, "a process is left");
  } finally {
    await releaseBelow(folder.path);
  }
});

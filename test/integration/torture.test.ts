/**
 * Lazy layers under kill -9, at random and at named places, with a registry that lies and a disk
 * that is full: every byte that is read is right, and no read fails. Longer: `npm run torture`.
 */
import { describe, expect, test } from "bun:test";
import { findLeftovers } from "../../scripts/lib/leftovers.ts";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { Readers } from "../../scripts/torture/readers.ts";
import { Rig } from "../../scripts/torture/rig.ts";
import { torture } from "../../scripts/torture/run.ts";
import { type Fault, faults } from "../../src/util/failpoint.ts";

const seed = process.env["DEDUP_SEED"] ?? String(Date.now());

/** A machine that is fast ends with so many, others when the time is over. */
const killsMax = 50;
const killsMin = 15;
const enoughMs = 40_000;
/** What a machine has for the fewest of them. */
const endMs = 150_000;
const hungMs = 60_000;

describe.each(["fuse", "fanotify"] as const)("dedupd with %s", (backend) => {
  test(`gives only right bytes, whoever is killed (seed ${seed})`, async () => {
    using folder = scratchFolder("torture");
    const startMs = performance.now();
    const isOver = (kills: number) => {
      const ms = performance.now() - startMs;
      return kills >= killsMax || (kills >= killsMin && ms > enoughMs) || ms > endMs;
    };
    const options = { backend, seed, isOver, megabytes: 72, hungMs };
    const { reads, kills, leaks, takeoversMs } = await torture(folder.path, options);
    expect(reads.problems).toEqual([]);
    expect(leaks).toEqual([]);
    if (kills < killsMin) {
      const longest = Math.max(...takeoversMs).toFixed(0);
      throw new Error(`${kills} kills in ${endMs} ms; a takeover takes up to ${longest} ms`);
    }
    expect(reads.files).toBeGreaterThan(0);
    // A loop device clears itself a moment after the last mount of it.
    const hasNothing = () => findLeftovers(folder.path).length === 0;
    await waitUntil(hasNothing, "something is left").catch(() => undefined);
    expect(findLeftovers(folder.path)).toEqual([]);
  }, 240_000);
});

/** What makes it matter that dedupd does something wrong; what else there is to do then. */
const provocations: Readonly<Record<Fault, (rig: Rig) => Promise<void>>> = {
  "answer-before-write": () => Promise.resolve(),
  "forget-mark": () => Promise.resolve(),
  "skip-verification": ({ registry }) => {
    registry.mood = "corrupt";
    return Promise.resolve();
  },
  "forget-orphans": async ({ registry, node }) => {
    registry.mood = "silent";
    const isAsked = async () => (await node.dedupd()).inFlight > 0;
    await waitUntil(isAsked, "nobody waits");
    process.kill((await node.dedupd()).pid, "SIGKILL");
  },
};

describe("the torture", () => {
  test.each(faults)("finds a dedupd that does this: %s", async (fault) => {
    using folder = scratchFolder("torture");
    const options = { backend: "fanotify", seed, fault, packs: 1, copies: 1 } as const;
    await using rig = await Rig.open(folder.path, options);
    await rig.start();
    const { packs } = rig;
    const readers = new Readers({ packs, count: 2, seed, hungMs: 4_000, folder: folder.path });
    await provocations[fault](rig);
    const isFound = () => readers.counts.problems.some((text) => /wrong bytes|hangs/.test(text));
    await waitUntil(isFound, "it is not found");
    await readers.stop();
  });
});

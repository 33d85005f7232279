/**
 * Lazy layers under kill -9, at random and at every named place, with a registry that lies: every
 * byte that is read is right, and no read fails. Longer: `npm run torture`.
 */
import { describe, expect, test } from "bun:test";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { findLeftovers } from "../../scripts/lib/leftovers.ts";
import { torture } from "../../scripts/torture/run.ts";
import type { Fault } from "../../src/util/failpoint.ts";

const seed = process.env["DEDUP_SEED"] ?? String(Date.now());
const killsMin = 40;

function isEnough(kills: number): boolean {
  return kills >= killsMin;
}

function isHopeless(kills: number): boolean {
  return kills > 10 * killsMin;
}

describe.each(["fuse", "fanotify"] as const)("dedupd with %s", (backend) => {
  test(`gives only right bytes over ${killsMin} kills (seed ${seed})`, async () => {
    using folder = scratchFolder("torture");
    const { reads, takeoversMs } = await torture(folder.path, { backend, seed, isOver: isEnough });
    expect(reads.problems).toEqual([]);
    expect(reads.files).toBeGreaterThan(0);
    expect(takeoversMs.length).toBeGreaterThan(0);
    expect(findLeftovers(folder.path)).toEqual([]);
  }, 300_000);
});

/**
 * The adversary goes on until it is found. What "forget-orphans" does wrong is put right, in most
 * cases, by the next event with the number of the forgotten one; it is found each time by
 * ondemand/fanotify-life.test.ts.
 */
const found: readonly Fault[] = ["answer-before-write", "skip-verification", "forget-mark"];

describe("the torture", () => {
  test.each(found)(
    "finds a dedupd that does this: %s",
    async (fault) => {
      using folder = scratchFolder("torture");
      const options = { backend: "fanotify", seed, fault, isOver: isHopeless } as const;
      const { reads } = await torture(folder.path, options);
      expect(reads.problems.join("\n")).toMatch(/wrong reads/);
    },
    300_000,
  );
});

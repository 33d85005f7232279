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

/** Far longer than a mood of the registry lasts. */
const hungMs = 20_000;

/** The adversary goes on until it is found. */
const found: readonly (readonly [Fault, RegExp])[] = [
  ["answer-before-write", /wrong reads/],
  ["skip-verification", /wrong reads/],
  ["forget-mark", /wrong reads/],
  ["forget-orphans", /hangs/],
];

describe("the torture", () => {
  test.each(found)(
    "finds a dedupd that does this: %s",
    async (fault, problem) => {
      using folder = scratchFolder("torture");
      const options = { backend: "fanotify", seed, fault, hungMs, isOver: isHopeless } as const;
      const { reads } = await torture(folder.path, options);
      expect(reads.problems.join("\n")).toMatch(problem);
    },
    300_000,
  );
});

import { describe, expect, test } from "bun:test";
import { goalTable, reaches } from "../../../scripts/bench/family/goal-table.ts";
import { imageTables } from "../../../scripts/bench/family/image-tables.ts";
import { readFamilyOptions } from "../../../scripts/bench/family/options.ts";
import { cpuSeconds, parseStat, watchMemory } from "../../../scripts/bench/family/process-usage.ts";
import {
  type ImageResult,
  maxOfMedians,
  medianOf,
  type RoundResult,
  sumOfMedians,
} from "../../../scripts/bench/family/results.ts";
import { runCommand } from "../../../scripts/lib/process.ts";
import type { ContenderName } from "../../../scripts/bench/family/contenders.ts";

const noMemory = { ownBytes: 0, childrenBytes: 0 };

function pulled(seconds: number, diskBytes: number, newBytes: number): ImageResult {
  const pull = {
    seconds,
    syncedSeconds: seconds,
    containerdCpuSeconds: seconds,
    daemonCpuSeconds: 0,
    containerdMemory: noMemory,
    daemonMemory: noMemory,
    diskBytes,
    newBytes,
    blobBytes: 0,
  };
  return { pull };
}

type Images = Readonly<Record<string, ImageResult>>;

function rounds(contender: ContenderName, ...all: readonly Images[]): RoundResult[] {
  return all.map((images, index) => ({
    contender,
    round: index + 1,
    load: [0, 1],
    images: new Map(Object.entries(images)),
  }));
}

const MB = 1_000_000;

describe("medianOf()", () => {
  const three = rounds(
    "dedup",
    { "a:1": pulled(1, 0, 0) },
    { "a:1": pulled(5, 0, 0), "b:1": pulled(7, 0, 0) },
    { "a:1": pulled(2, 0, 0) },
  );

  test("takes the middle of all rounds in which an image was measured", () => {
    expect(medianOf(three, "a:1", ({ pull }) => pull.seconds)).toBe(2);
    expect(medianOf(three, "b:1", ({ pull }) => pull.seconds)).toBe(7);
  });

  test("says so where there is nothing to take", () => {
    expect(medianOf(three, "c:1", ({ pull }) => pull.seconds)).toBe(undefined);
    expect(medianOf(three, "a:1", ({ start }) => start?.coldMs)).toBe(undefined);
  });

  test("is what sums and maxima are made of", () => {
    const images = ["a:1", "b:1", "c:1"];
    expect(sumOfMedians(three, images, ({ pull }) => pull.seconds)).toBe(9);
    expect(maxOfMedians(three, images, ({ pull }) => pull.seconds)).toBe(7);
    expect(sumOfMedians(three, ["c:1"], ({ pull }) => pull.seconds)).toBe(undefined);
  });
});

describe("goalTable()", () => {
  const results = new Map([
    [
      "overlayfs" as const,
      rounds("overlayfs", {
        "app:1": pulled(10, 900 * MB, 900 * MB),
        "app:2": pulled(10, 1800 * MB, 900 * MB),
        "model:1": pulled(10, 2400 * MB, 600 * MB),
        "text:1": pulled(99, 2700 * MB, 300 * MB),
      }),
    ],
    [
      "dedup" as const,
      rounds("dedup", {
        "app:1": pulled(3, 200 * MB, 200 * MB),
        "app:2": pulled(2, 235 * MB, 35 * MB),
        "model:1": pulled(13, 835 * MB, 600 * MB),
        "text:1": pulled(99, 900 * MB, 65 * MB),
      }),
    ],
  ]);
  const lines = goalTable(results);
  const row = (start: string) => lines.filter((line) => line.startsWith(`| ${start}`));

  test("holds ratios to their thresholds, and counts no image twice that is only read", () => {
    const [pull] = row("pull of the family");
    expect(pull).toContain("| 30.0 | 18.0 | 0.60× overlayfs | ≤ 0.5× | ≤ 0.3× | **missed** |");
    const [disk] = row("disk without the models");
    expect(disk).toContain("| 1800 | 235 | 0.13× overlayfs | ≤ 0.22× | ≤ 0.18× | aim reached |");
  });

  test("holds absolute figures to theirs", () => {
    expect(row("new on disk: app:2")).toEqual([
      "| new on disk: app:2 after app:1, MB | 900.0 | 35.0 | 35.0 | ≤ 40.0 | ≤ 30.0 | ok |",
    ]);
  });

  test("says what an image adds only if its sibling was there", () => {
    expect(row("new on disk: model:2")).toEqual([]);
  });

  test("judges nothing where the peer is missing, and leaves out what nobody measured", () => {
    expect(row("pull of the family")[1]).toContain("| – | ≤ 0.6× | ≤ 0.35× | – |");
    expect(row("600 MiB of weights")).toEqual([]);
  });

  test("has a table of images beside it", () => {
    expect(imageTables(results)).toContain("| model:1 | 10.00 | 13.00 |");
  });
});

test("reaches() knows figures of which more is better", () => {
  expect(reaches(1.1, 1)).toBe(false);
  expect(reaches(1.1, 1, true)).toBe(true);
  expect(reaches(1, 1)).toBe(true);
});

describe("parseStat()", () => {
  test("is not confused by a name with blanks and parentheses", () => {
    const text = "42 (a b) (c)) S 7 42 42 0 -1 4194304 99 0 0 0 1 2 30 400 20 0 1 0 5 6";
    expect(parseStat(text)).toEqual({ pid: 42, parentPid: 7, cpuTicks: 433 });
  });
});

describe("cpuSeconds()", () => {
  test("counts children that have ended", async () => {
    const before = cpuSeconds(process.pid);
    await runCommand(["sh", "-c", "head --bytes=200M /dev/zero | sha256sum"]);
    expect(cpuSeconds(process.pid)).toBeGreaterThan(before);
  });

  test("is zero for a process that is gone", () => {
    expect(cpuSeconds(2 ** 30)).toBe(0);
  });
});

describe("watchMemory()", () => {
  test("counts a process from when it is asked to", () => {
    const { ownBytes, childrenBytes } = watchMemory(process.pid).stop();
    expect(ownBytes).toBeGreaterThan(1_000_000);
    expect(childrenBytes).toBe(0);
  });
});

describe("readFamilyOptions()", () => {
  const usual = { set: "full", only: "", peers: "dedup", rounds: "3", out: "/tmp/x.json" };

  test("takes the images of a set and the peers to compare", () => {
    const { peers, ...options } = readFamilyOptions({
      ...usual,
      only: "app:1,node:1",
      peers: "dedup,overlayfs",
    });
    expect(options).toEqual({
      set: "full",
      only: ["app:1", "node:1"],
      rounds: 3,
      out: "/tmp/x.json",
    });
    expect(peers.map(({ name }) => name)).toEqual(["dedup", "overlayfs"]);
  });

  test("names what it does not know", () => {
    expect(() => readFamilyOptions({ ...usual, set: "huge" })).toThrow('not "huge"');
    expect(() => readFamilyOptions({ ...usual, set: "small", only: "node:1" })).toThrow("node:1");
    expect(() => readFamilyOptions({ ...usual, rounds: "0" })).toThrow('not "0"');
    expect(() => readFamilyOptions({ ...usual, peers: "podman" })).toThrow('No peer "podman"');
  });
});

import { expect, test } from "bun:test";
import { lazyGoalTable } from "../../../scripts/bench/lazy/goals.ts";
import { type Measurement, sumOfMedians } from "../../../scripts/bench/lazy/results.ts";

function measured(contender: string, image: string, readyMs: number): Measurement {
  const times = { pullMs: readyMs / 2, readyMs, fetchedBytes: 0, againMs: 400 };
  return { link: "100 Mbit/s", image, contender, fill: undefined, ...times };
}

const results = [
  measured("overlayfs", "a:1", 3000),
  measured("overlayfs", "b:1", 7000),
  measured("dedup fuse", "a:1", 900),
  measured("dedup fuse", "a:1", 1000),
  measured("dedup fuse", "a:1", 5000),
  measured("dedup fuse", "b:1", 2000),
];

test("a sum takes the median of each image", () => {
  const ready = (contender: string) =>
    sumOfMedians(results, "100 Mbit/s", contender, ({ readyMs }) => readyMs);
  expect(ready("dedup fuse")).toBe(3000);
  expect(ready("stargz")).toBeUndefined();
  const filled = sumOfMedians(results, "100 Mbit/s", "dedup fuse", ({ fill }) => fill?.filledBytes);
  expect(filled).toBeUndefined();
});

test("goals of which both sides were measured are judged", () => {
  const lines = lazyGoalTable(results).slice(2);
  expect(lines).toEqual([
    "| ready, dedup fuse / overlayfs | 100 Mbit/s | 0.30× | ≤ 0.35× | ≤ 0.15× | ok |",
  ]);
});

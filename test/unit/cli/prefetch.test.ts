import { describe, expect, test } from "bun:test";
import type { PrefetchStatus } from "../../../src/claim/prefetches.ts";
import { PrefetchProgress } from "../../../src/cli/prefetch.ts";
import { formatDuration } from "../../../src/cli/progress-bar.ts";

const first: PrefetchStatus = {
  id: 1,
  image: "app:1",
  state: "fetching",
  reason: null,
  layers: 1,
  pieces: 10,
  present_pieces: 2,
  bytes: 1000,
  present_bytes: 200,
  unknown: 0,
};

function record(isTTY: boolean) {
  const written: string[] = [];
  let nowMs = 0;
  const output = { isTTY, write: (text: string) => written.push(text) };
  const progress = new PrefetchProgress(output, first, () => (nowMs += 1000));
  return { written, progress };
}

const clear = "\r\u001b[K";

describe("PrefetchProgress", () => {
  test("shows bytes, chunks and how long it takes at the rate since the beginning", () => {
    const { written, progress } = record(true);
    progress.show(first);
    progress.show({ ...first, present_bytes: 300, present_pieces: 3 });
    progress.end();
    expect(written).toEqual([
      `${clear}[######${".".repeat(24)}] 20 % 200 B of 1000 B, 2/10 chunks`,
      `${clear}[#########${".".repeat(21)}] 30 % 300 B of 1000 B, 3/10 chunks, 0:07 left`,
      clear,
    ]);
  });

  test("says what it waits for, each reason once, also without a terminal", () => {
    const { written, progress } = record(false);
    for (const reason of [null, "dedupd is away", "dedupd is away", null, "no registry"]) {
      progress.show({ ...first, reason });
    }
    progress.end();
    expect(written).toEqual(["waiting: dedupd is away\n", "waiting: no registry\n"]);
  });
});

describe("formatDuration()", () => {
  test("has minutes and seconds", () => {
    expect([0, 999, 65_000, 3_600_000].map(formatDuration)).toEqual([
      "0:00",
      "0:01",
      "1:05",
      "60:00",
    ]);
  });
});

import { describe, expect, test } from "bun:test";
import type { PrefetchStatus } from "../../../src/claim/prefetches.ts";
import { describeLayer } from "../../../src/cli/lazy.ts";
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
  eta_seconds: null,
  unknown: 0,
};

function record(isTTY: boolean) {
  const written: string[] = [];
  const output = { isTTY, write: (text: string) => written.push(text) };
  const progress = new PrefetchProgress(output);
  return { written, progress };
}

const clear = "\r\u001b[K";

describe("PrefetchProgress", () => {
  test("shows bytes, chunks and how long it takes", () => {
    const { written, progress } = record(true);
    progress.show(first);
    progress.show({ ...first, present_bytes: 300, present_pieces: 3, eta_seconds: 7 });
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

test("describeLayer() tells how far a layer came", () => {
  const { bytes, present_bytes, pieces, present_pieces } = first;
  const figures = { bytes, present_bytes, pieces, present_pieces, eta_seconds: 65 };
  const facts = { time: "", layer: 1, fetched_bytes: 0, read_bytes: 0, reason: null, ...figures };
  const layer = { digest: "sha256:a", decision: "lazy", state: "fetching", ...facts } as const;
  expect(describeLayer(layer)).toBe(
    "sha256:a lazy, fetching, 200 B of 1000 B, 2/10 chunks, 1:05 left",
  );
  expect(describeLayer({ ...layer, state: "complete" })).toBe("sha256:a lazy, complete");
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

import { describe, expect, test } from "bun:test";
import { lazyView, type LazyViewSources } from "../../../src/claim/lazy-view.ts";
import type { DedupdStatus, PackStatus } from "../../../src/ondemand/control.ts";
import type { LayerDecision } from "../../../src/snapshot/contract.ts";

const timeNs = 1_700_000_000_123_456_789n;

function decision(image: string, digest: string, layerId?: number, reason = ""): LayerDecision {
  const decided = layerId === undefined ? ("not lazy" as const) : ("lazy" as const);
  return { image, digest, decision: decided, reason, timeNs, layerId };
}

const status: Partial<PackStatus> = {
  packId: 512,
  state: "fetching",
  bytes: 1000,
  presentBytes: 250,
  pieces: 40,
  presentPieces: 10,
  fetchedBytes: 90,
  readBytes: 70,
  etaSeconds: 7,
  reason: "the registry is slow",
};

const sources: LazyViewSources = {
  isEnabled: true,
  decisions: [
    decision("app:1", "a", 1),
    decision("app:1", "b", undefined, "no table"),
    decision("app:2", "c", 2),
    decision("app:2", "d", 3),
    decision("app:2", "e", 4),
    decision("app:2", "f", 5),
  ],
  dedupd: {
    dedupd: { backend: "fuse", backendReasons: ["no fanotify"] } as unknown as DedupdStatus,
    packs: [status as PackStatus],
  },
  packOf: (layerId) =>
    new Map([
      [1, { packId: 512, isComplete: false }],
      [2, { packId: 513, isComplete: true }],
      [4, { packId: 514, isComplete: false }],
    ]).get(layerId),
  isReferenced: (layerId) => layerId !== 5,
};

describe("lazyView()", () => {
  test("shows each image with what is there of its layers, and why others are not lazy", () => {
    const view = lazyView(sources);
    expect(view).toMatchObject({
      enabled: true,
      dedupd: "running",
      backend: "fuse",
      backend_reasons: ["no fanotify"],
    });
    expect(view.images[0]).toEqual({
      image: "app:1",
      bytes: 1000,
      present_bytes: 250,
      pieces: 40,
      present_pieces: 10,
      eta_seconds: 7,
      fetched_bytes: 90,
      read_bytes: 70,
      layers: [
        {
          digest: "a",
          decision: "lazy",
          reason: "the registry is slow",
          time: "2023-11-14T22:13:20.123Z",
          state: "fetching",
          layer: 1,
          bytes: 1000,
          present_bytes: 250,
          pieces: 40,
          present_pieces: 10,
          fetched_bytes: 90,
          read_bytes: 70,
          eta_seconds: 7,
        },
        {
          digest: "b",
          decision: "not lazy",
          reason: "no table",
          time: "2023-11-14T22:13:20.123Z",
          state: null,
          layer: null,
          bytes: 0,
          present_bytes: 0,
          pieces: 0,
          present_pieces: 0,
          fetched_bytes: 0,
          read_bytes: 0,
          eta_seconds: null,
        },
      ],
    });
  });

  test("tells complete layers from those that wait and those that are gone", () => {
    const states = (dedupd: LazyViewSources["dedupd"]) =>
      lazyView({ ...sources, dedupd }).images[1]?.layers.map(({ state }) => state);
    expect(states(sources.dedupd)).toEqual(["complete", "complete", "waiting", "removed"]);
    expect(states(undefined)).toEqual(["complete", "complete", "unknown", "removed"]);
    expect(lazyView({ ...sources, dedupd: undefined })).toMatchObject({
      dedupd: "away",
      backend: null,
    });
  });
});

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { AppError } from "../../../src/errors.ts";
import type { DedupdView } from "../../../src/claim/lazy-layers.ts";
import { Prefetches } from "../../../src/claim/prefetches.ts";
import type { PackStatus, PrefetchRequest } from "../../../src/ondemand/control.ts";
import type { LayerDecision } from "../../../src/snapshot/contract.ts";
import type { PackProgress, TraceRequest } from "../../../src/store/trace-progress.ts";
import { rejection } from "../../support/rejection.ts";

const hash = "ab".repeat(32);

/** By layer. */
const allPacks = [
  [1, 512],
  [2, 513],
  [5, 600],
] as const;

function decision(image: string, digest: string, layerId?: number): LayerDecision {
  const decided = layerId === undefined ? ("not lazy" as const) : ("lazy" as const);
  return { image, digest, decision: decided, reason: "", timeNs: 0n, layerId };
}

function fetching(packId: number, figures: Partial<PackStatus>): Partial<PackStatus> {
  return { packId, state: "fetching", ...figures };
}

/** An image of two lazy layers in packs 512 and 513, and one that was pulled. */
class TestPrefetches implements Disposable {
  readonly #scratch = scratchFolder("unit");
  readonly asked: [number, PrefetchRequest][] = [];
  readonly measured: TraceRequest[] = [];
  isAway = false;
  nowMs = 0;
  /** By layer: those that are not complete. */
  readonly packOf = new Map<number, number>(allPacks);
  readonly removed = new Set<number>();
  /** What dedupd does not find. */
  readonly gone = new Set<number>();
  packs = new Map<number, Partial<PackStatus>>([
    [512, fetching(512, { pieces: 4, presentPieces: 0, bytes: 400, presentBytes: 0 })],
    [513, fetching(513, { pieces: 2, presentPieces: 1, bytes: 200, presentBytes: 100 })],
    [600, fetching(600, { pieces: 9, presentPieces: 0, bytes: 900, presentBytes: 0 })],
  ]);
  trace: PackProgress[] = [];
  readonly prefetches: Prefetches;

  constructor() {
    writeFileSync(join(this.#scratch.path, "trace"), hash);
    this.prefetches = new Prefetches({
      lazyLayers: {
        prefetch: async (packId, request) => {
          this.asked.push([packId, request]);
          if (this.gone.has(packId)) throw new AppError("not_found", `There is no pack ${packId}`);
          return { pieces: 1, bytes: 1 };
        },
        status: async () => this.#status(),
      },
      decisions: () => [
        decision("docker.io/library/app:1", "sha256:a", 1),
        decision("docker.io/library/app:1", "sha256:b", 2),
        decision("docker.io/library/app:1", "sha256:c"),
        decision("docker.io/library/app:1", "sha256:d", 4),
        decision("docker.io/library/other:1", "sha256:e", 5),
        decision("no reference at all!", "sha256:f", 5),
      ],
      packOf: (layerId) => this.packOf.get(layerId),
      isReferenced: (layerId) => !this.removed.has(layerId),
      traceProgress: async (request) => {
        this.measured.push(request);
        return { packs: this.trace, unknown: 3 };
      },
      traceFolder: this.#scratch.path,
      nowMs: () => this.nowMs,
    });
  }

  #status(): DedupdView | undefined {
    if (this.isAway) return undefined;
    const found = [...this.packs.values()] as PackStatus[];
    return { dedupd: {} as DedupdView["dedupd"], packs: found };
  }

  [Symbol.dispose](): void {
    this.#scratch[Symbol.dispose]();
  }
}

describe("Prefetches", () => {
  test("has all packs of an image fetched, whatever way it is named", async () => {
    using node = new TestPrefetches();
    expect(await node.prefetches.start("app:1")).toEqual({
      id: 1,
      image: "app:1",
      state: "fetching",
      reason: null,
      layers: 2,
      pieces: 6,
      present_pieces: 1,
      bytes: 600,
      present_bytes: 100,
      eta_seconds: null,
      unknown: 0,
    });
    node.nowMs = 5000;
    Object.assign(node.packs.get(512)!, { presentPieces: 2, presentBytes: 200 });
    expect(await node.prefetches.status(1)).toMatchObject({ present_bytes: 300, eta_seconds: 8 });
    expect(node.asked).toEqual([
      [512, {}],
      [513, {}],
    ]);
  });

  test("takes a pack that is gone for complete if its layer is, dedupd there or away", async () => {
    using node = new TestPrefetches();
    const { id } = await node.prefetches.start("app:1");
    node.packs.delete(512);
    expect(await node.prefetches.status(id)).toMatchObject({ state: "fetching", bytes: 600 });
    node.packOf.delete(1);
    node.isAway = true;
    expect(await node.prefetches.status(id)).toMatchObject({
      state: "fetching",
      reason: "dedupd is away",
      present_pieces: 5,
    });
    node.isAway = false;
    node.packs.delete(513);
    node.packOf.delete(2);
    expect(await node.prefetches.status(id)).toMatchObject({
      state: "complete",
      reason: null,
      present_bytes: 600,
    });
  });

  test("fails where a layer was removed or pulled again meanwhile", async () => {
    using node = new TestPrefetches();
    const { id } = await node.prefetches.start("app:1");
    node.packs.delete(512);
    node.packOf.set(1, 700);
    const removed = { state: "failed", reason: "layer sha256:a was removed" };
    expect(await node.prefetches.status(id)).toMatchObject(removed);
    node.packOf.delete(1);
    node.removed.add(1);
    expect(await node.prefetches.status(id)).toMatchObject(removed);
  });

  test("is not stopped by a pack that becomes complete while it begins", async () => {
    using node = new TestPrefetches();
    node.gone.add(512);
    node.packs.delete(512);
    node.packOf.delete(2);
    expect(await node.prefetches.start("app:1")).toMatchObject({ state: "fetching", layers: 1 });
    node.packOf.delete(1);
    expect(await node.prefetches.status(1)).toMatchObject({ state: "complete", pieces: 0 });
  });

  test("asks again for what dedupd has forgotten, and fails where that does not help", async () => {
    using node = new TestPrefetches();
    const { id } = await node.prefetches.start("app:1");
    const pack = node.packs.get(512)!;
    Object.assign(pack, { state: "waiting", reason: "wrong content" });
    expect(await node.prefetches.status(id)).toMatchObject({ state: "fetching" });
    expect(node.asked.slice(2)).toEqual([[512, {}]]);
    Object.assign(pack, { presentPieces: 1 });
    expect(await node.prefetches.status(id)).toMatchObject({ state: "fetching" });
    expect(await node.prefetches.status(id)).toMatchObject({
      state: "failed",
      reason: "wrong content",
    });
  });

  test("says why nothing comes, and what never will", async () => {
    using node = new TestPrefetches();
    Object.assign(node.packs.get(512)!, { reason: "the registry is away" });
    const status = await node.prefetches.start("app:1");
    expect(status).toMatchObject({ state: "fetching", reason: "the registry is away" });
    Object.assign(node.packs.get(513)!, { reason: "it is damaged", state: "failed" });
    expect(await node.prefetches.status(status.id)).toMatchObject({
      state: "failed",
      reason: "it is damaged",
    });
  });

  test("follows a trace by what it names", async () => {
    using node = new TestPrefetches();
    const piece = { packId: 512, pieces: 1, bytes: 100 };
    const none = { packId: 513, pieces: 0, bytes: 0, presentPieces: 0, presentBytes: 0 };
    node.trace = [{ ...piece, presentPieces: 0, presentBytes: 0 }, none];
    const status = await node.prefetches.start("app:1", "trace");
    expect(status).toMatchObject({ state: "fetching", pieces: 1, bytes: 100, unknown: 3 });
    expect(node.asked).toEqual([
      [512, { hashes: [hash] }],
      [513, { hashes: [hash] }],
    ]);
    expect(node.measured).toEqual([{ packIds: [512, 513], hashes: [hash] }]);
    node.trace = [{ ...piece, presentPieces: 1, presentBytes: 100 }, none];
    expect(await node.prefetches.status(status.id)).toMatchObject({ state: "complete" });
  });

  test("knows the images that were claimed, and the last requests", async () => {
    using node = new TestPrefetches();
    expect(await rejection(node.prefetches.start("unknown:1"))).toMatchObject({
      code: "not_found",
    });
    expect(await rejection(node.prefetches.start("NO"))).toMatchObject({
      code: "invalid_argument",
    });
    expect(await rejection(node.prefetches.status(1))).toMatchObject({ code: "not_found" });
    for (let count = 0; count < 65; count++) await node.prefetches.start("other:1");
    expect(await rejection(node.prefetches.status(1))).toMatchObject({ code: "not_found" });
    expect(await node.prefetches.status(2)).toMatchObject({ pieces: 9 });
  });
});

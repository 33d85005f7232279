import { describe, expect, test } from "bun:test";
import { waitUntil } from "../../../scripts/lib/process.ts";
import { type DedupdCalls, type KnownPack, LazyLayers } from "../../../src/claim/lazy-layers.ts";
import { AppError } from "../../../src/errors.ts";
import type { SuspectPack } from "../../../src/ondemand/contract.ts";
import type {
  DedupdEvent,
  DedupdEvents,
  DedupdStatus,
  PackStatus,
} from "../../../src/ondemand/control.ts";
import { rejection } from "../../support/rejection.ts";
import { RecordingLog } from "../snapshot/fakes.ts";

const absence = new AppError("unavailable", "no dedupd");

/** A dedupd that can be away. */
class FakeDedupd implements DedupdCalls {
  isAway = false;
  readonly exposed = new Map<number, PackStatus["state"]>();
  readonly withdrawn: number[] = [];
  readonly prefetched: unknown[] = [];
  readonly happened: DedupdEvent[] = [];
  suspects: readonly SuspectPack[] = [];
  asked = 0;
  #wake = Promise.withResolvers<void>();

  async expose(packId: number): Promise<string> {
    this.#answer();
    if (!this.exposed.has(packId)) this.exposed.set(packId, "waiting");
    return `/lazy/${packId}.pack`;
  }

  async withdraw(packId: number): Promise<void> {
    this.#answer();
    this.exposed.delete(packId);
    this.withdrawn.push(packId);
  }

  async packs(): Promise<PackStatus[]> {
    this.#answer();
    return [...this.exposed].map(([packId, state]) => ({ packId, state }) as PackStatus);
  }

  async prefetch(packId: number, body: object) {
    this.#answer();
    this.prefetched.push([packId, body]);
    return { pieces: 1, bytes: 1 };
  }

  readonly traces = new Map<string, string>();

  async trace(image: string) {
    this.#answer();
    return { trace: this.traces.get(image) ?? "" };
  }

  async putTrace(image: string, { trace }: { readonly trace: string }) {
    this.#answer();
    this.traces.set(image, trace);
    return { pieces: 1 };
  }

  expectUse(): void {
    // It runs.
  }

  async status(): Promise<DedupdStatus> {
    this.#answer();
    return { backend: "fuse", suspects: this.suspects } as unknown as DedupdStatus;
  }

  async events(after: number, { signal }: { signal?: AbortSignal } = {}): Promise<DedupdEvents> {
    this.#answer();
    const isHere = () => this.happened.length > after;
    const ended = Promise.withResolvers<void>();
    signal?.addEventListener("abort", () => ended.resolve());
    if (!isHere()) await Promise.race([this.#wake.promise, ended.promise]);
    this.#answer();
    return { events: this.happened.slice(after), last: this.happened.length };
  }

  happen(kind: DedupdEvent["kind"], packId: number, timeMs = Date.now()): void {
    const number = this.happened.length + 1;
    this.happened.push({ kind, packId, number, image: "app:1", timeMs, message: "as it is" });
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  #answer(): void {
    this.asked += 1;
    if (this.isAway) throw absence;
  }
}

class TestLayers implements AsyncDisposable {
  readonly dedupd = new FakeDedupd();
  readonly log = new RecordingLog();
  packs: KnownPack[] = [];
  readonly complete: number[] = [];
  readonly layers: LazyLayers;

  constructor(awayMs = 60_000) {
    this.layers = new LazyLayers({
      dedupd: this.dedupd,
      packs: () => this.packs,
      onComplete: ({ layerId }) => void this.complete.push(layerId),
      awayMs,
      fetchMs: 60_000,
      log: this.log,
    });
  }

  know(...packIds: readonly number[]): void {
    this.packs = packIds.map((packId) => ({ packId, layerId: packId - 500, isComplete: false }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.layers.close();
  }
}

const until = (condition: () => boolean, what: string) => waitUntil(async () => condition(), what);

describe("LazyLayers", () => {
  test("tells dedupd of all packs, and lets go of those that are nobody's", async () => {
    await using node = new TestLayers();
    node.know(512, 513);
    node.packs.push({ packId: 514, layerId: 14, isComplete: true });
    node.dedupd.exposed.set(513, "complete").set(600, "fetching");
    node.layers.start();
    await until(() => node.dedupd.exposed.has(512), "it does not expose the pack");
    expect([...node.dedupd.exposed.keys()]).toEqual([513, 512]);
    expect(node.dedupd.withdrawn).toEqual([600]);
    expect(node.complete).toEqual([13]);
  });

  test("hears what happens, and counts what is wrong", async () => {
    await using node = new TestLayers();
    node.know(512, 513);
    node.dedupd.happen("failed", 512, 0);
    node.dedupd.happen("complete", 513, 0);
    node.layers.start();
    node.dedupd.happen("mismatch", 512);
    node.dedupd.happen("complete", 999);
    node.dedupd.happen("complete", 512);
    await until(() => node.complete.length > 0, "it does not hear");
    expect(node.complete).toEqual([12]);
    // The failure is from before the start, and pack 513 is another one by now.
    expect(node.layers.counts).toEqual({ mismatches: 1, failures: 0, suspects: 0 });
    expect(node.log.messages("error")).toEqual(["lazy pack 512: mismatch"]);
  });

  test("says once who may have read zeros, also before this process began", async () => {
    await using node = new TestLayers();
    const container = { pid: 42, command: "nginx", cgroup: "abc" };
    const suspect = { packId: 512, users: [container], staleCachedPages: 0 };
    node.know(512, 513);
    node.dedupd.suspects = [suspect];
    node.dedupd.happen("suspect", 512, 0);
    node.layers.start();
    await until(() => node.layers.counts.suspects === 1, "it does not say so");
    node.dedupd.suspects = [suspect, { ...suspect, packId: 513, users: [] }];
    node.dedupd.happen("suspect", 513);
    await until(() => node.layers.counts.suspects === 2, "it does not hear");
    expect(node.log.lines.filter(({ level }) => level === "error")).toEqual([
      {
        level: "error",
        fields: {
          audit: true,
          event: "suspect",
          pack: 512,
          image: "",
          digest: "",
          containers: [container],
          stale_cached_pages: 0,
        },
        message: expect.stringContaining("restart nginx (abc, PID 42)"),
      },
      {
        level: "error",
        fields: expect.objectContaining({ audit: true, pack: 513 }),
        message: expect.stringContaining("no container has it"),
      },
    ]);
  });

  test("starts without dedupd, and does what is left to do when it comes", async () => {
    await using node = new TestLayers(0);
    node.know(512);
    node.dedupd.isAway = true;
    node.layers.start();
    await until(() => node.log.messages("warn").length > 0, "it does not say so");
    expect(await node.layers.status()).toBeUndefined();
    node.dedupd.isAway = false;
    await until(() => node.dedupd.exposed.has(512), "it does not find dedupd");
    await until(() => node.log.messages("info").length > 0, "it does not say so");
    expect(node.log.messages("warn")).toHaveLength(1);
    expect(await node.layers.status()).toMatchObject({ dedupd: { backend: "fuse" } });
  });

  test("takes a dedupd without a backend for one that is away", async () => {
    await using node = new TestLayers();
    node.dedupd.status = () => Promise.reject(new AppError("unimplemented", "no backend"));
    expect(await node.layers.status()).toBeUndefined();
  });

  test("waits for dedupd where a layer is to be mounted", async () => {
    await using node = new TestLayers();
    node.dedupd.isAway = true;
    const device = node.layers.device(512);
    await until(() => node.dedupd.asked > 1, "it does not ask again");
    node.dedupd.isAway = false;
    expect(await device).toBe("/lazy/512.pack");
  });

  test("tells whether all content of a pack is there", async () => {
    await using node = new TestLayers();
    const pack = { packId: 512, pieces: 2, presentPieces: 1 } as PackStatus;
    node.dedupd.packs = async () => [pack];
    const refusal = { code: "failed_precondition", remedy: expect.stringContaining("fuse") };
    expect(await rejection(node.layers.requireWhole(512))).toMatchObject(refusal);
    expect(await rejection(node.layers.requireWhole(513))).toMatchObject(refusal);
    node.dedupd.packs = async () => [{ ...pack, presentPieces: 2 }];
    await node.layers.requireWhole(512);
  });

  test("gives up after a while, with the reason", async () => {
    await using node = new TestLayers(0);
    node.dedupd.isAway = true;
    expect(await rejection(node.layers.device(512))).toMatchObject({
      code: "unavailable",
      message: "The content of lazy pack 512 cannot be served",
      cause: absence,
    });
  });

  test("has dedupd let go of deleted packs, whenever it comes", async () => {
    await using node = new TestLayers();
    node.dedupd.isAway = true;
    const isDone = node.layers.letGo([512, 513]);
    await Bun.sleep(0);
    node.dedupd.isAway = false;
    await isDone;
    expect(node.dedupd.withdrawn).toEqual([512, 513]);
  });

  test("has what the author wants first fetched at once", async () => {
    await using node = new TestLayers();
    await node.layers.added(512, 0);
    await node.layers.added(513, 1000);
    expect([...node.dedupd.exposed.keys()]).toEqual([512, 513]);
    expect(node.dedupd.prefetched).toEqual([[513, { blobEndBytes: 1000 }]]);
    await using away = new TestLayers(0);
    away.dedupd.isAway = true;
    await away.layers.added(514, 0);
    expect(away.log.messages("warn")).toEqual(["the content of a layer is fetched later"]);
  });
});

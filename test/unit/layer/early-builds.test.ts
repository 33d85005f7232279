import { describe, expect, test } from "bun:test";
import { waitUntil } from "../../../scripts/lib/process.ts";
import type { DownloadedBlob } from "../../../src/layer/blob-reads.ts";
import { EarlyBuilds } from "../../../src/layer/early-builds.ts";
import type { BlobLayer } from "../../../src/snapshot/contract.ts";
import { MiB } from "../../../src/util/bytes.ts";
import { isCancelled } from "../../../src/util/cancel-flag.ts";
import { blobOf, RecordingLog } from "../snapshot/fakes.ts";

interface FakeBuild {
  readonly blob: DownloadedBlob;
  readonly signal: AbortSignal;
  resolve(layer: BlobLayer): void;
  reject(error: Error): void;
}

function layerOf(layerId: number): BlobLayer {
  const facts = { addedBytes: 4096, inodes: 3, reused: false };
  return { layerId, ...facts, diffId: "sha256:tar", tarBytes: 10_240 };
}

class Fixture {
  readonly known = new Set<string>();
  readonly builds: FakeBuild[] = [];
  readonly ended: { readonly layerId: number; readonly isUsed: boolean }[] = [];
  readonly log = new RecordingLog();
  readonly signal = new AbortController();
  readonly early: EarlyBuilds;
  residentBytes = 0;

  constructor(workers = 2, keptMs = 60_000) {
    this.early = new EarlyBuilds({
      workers,
      keptMs,
      isKnown: ({ digest }) => this.known.has(digest),
      build: (blob, signal) => {
        const { promise, resolve, reject } = Promise.withResolvers<BlobLayer>();
        signal.addEventListener("abort", () => reject(new Error("aborted")));
        this.builds.push({ blob, signal, resolve, reject });
        return promise;
      },
      end: (layerId, isUsed) => void this.ended.push({ layerId, isUsed }),
      residentBytes: () => this.residentBytes,
      log: this.log,
    });
  }

  offer(...digests: readonly string[]): void {
    for (const digest of digests) this.early.offer(blobOf(digest), `ingest of ${digest}`);
  }

  claim(digest: string) {
    return this.early.claim(digest, this.signal.signal);
  }

  get started(): string[] {
    return this.builds.map(({ blob }) => blob.digest);
  }

  /** Ends the build of a blob, and waits until that is noticed. */
  async finish(digest: string, layerId: number): Promise<void> {
    this.builds.find(({ blob }) => blob.digest === digest)?.resolve(layerOf(layerId));
    await Bun.sleep(0);
  }
}

describe("EarlyBuilds", () => {
  test("gives Apply the layer that was built", async () => {
    const fixture = new Fixture();
    fixture.offer("a");
    expect(fixture.builds[0]?.blob.download.file).toBe("ingest of a");
    await fixture.finish("a", 1);
    {
      using claim = fixture.claim("a");
      expect(await claim.layer).toEqual(layerOf(1));
      claim.take();
    }
    await waitUntil(() => fixture.ended.length === 1, "it ends");
    expect(fixture.ended).toEqual([{ layerId: 1, isUsed: true }]);
    expect(fixture.early.counts).toEqual({ started: 1, used: 1, dropped: 0 });
  });

  test("gives Apply the layer that is being built, and says that its blob is there", async () => {
    const fixture = new Fixture();
    fixture.offer("a");
    const isOver = fixture.builds[0]!.blob.download.isOver;
    expect(isCancelled(isOver)).toBe(false);
    using claim = fixture.claim("a");
    expect(isCancelled(isOver)).toBe(true);
    await fixture.finish("a", 1);
    expect(await claim.layer).toEqual(layerOf(1));
  });

  test("deletes a layer that Apply could not use", async () => {
    const fixture = new Fixture();
    fixture.offer("a");
    await fixture.finish("a", 1);
    fixture.claim("a")[Symbol.dispose]();
    await waitUntil(() => fixture.ended.length === 1, "it ends");
    expect(fixture.ended).toEqual([{ layerId: 1, isUsed: false }]);
    expect(fixture.early.counts).toEqual({ started: 1, used: 0, dropped: 1 });
  });

  test("deletes a layer that nobody comes for", async () => {
    const fixture = new Fixture(2, 0);
    fixture.offer("a");
    await fixture.finish("a", 1);
    await waitUntil(() => fixture.ended.length === 1, "it ends");
    expect(fixture.ended).toEqual([{ layerId: 1, isUsed: false }]);
    using claim = fixture.claim("a");
    expect(await claim.layer).toBeUndefined();
  });

  test("forgets a build that fails, which may be tried again", async () => {
    const fixture = new Fixture();
    fixture.offer("a");
    fixture.builds[0]?.reject(new Error("stands still"));
    await waitUntil(() => fixture.log.lines.length === 1, "it fails");
    expect(fixture.log.lines[0]).toMatchObject({
      level: "debug",
      fields: { blob: "a", reason: "stands still" },
    });
    fixture.offer("a");
    expect(fixture.started).toEqual(["a", "a"]);
    expect(fixture.early.counts).toEqual({ started: 2, used: 0, dropped: 1 });
  });

  test("gives nothing to the Apply that came before a build that fails", async () => {
    const fixture = new Fixture();
    fixture.offer("a");
    using claim = fixture.claim("a");
    fixture.builds[0]?.reject(new Error("began anew"));
    expect(await claim.layer).toBeUndefined();
  });

  test("ends with the Apply that has come for it", async () => {
    const fixture = new Fixture();
    fixture.offer("a");
    using claim = fixture.claim("a");
    fixture.signal.abort();
    expect(await claim.layer).toBeUndefined();
    expect(fixture.builds[0]?.signal.aborted).toBe(true);
  });

  test("builds nothing that is there already, and nothing twice", () => {
    const fixture = new Fixture(8);
    fixture.known.add("b");
    fixture.offer("a", "b", "a", "c");
    expect(fixture.started).toEqual(["a", "c"]);
  });

  test("leaves a worker for Apply, and takes it when Apply has come for the build", async () => {
    const fixture = new Fixture(2);
    fixture.offer("a", "b", "c");
    expect(fixture.started).toEqual(["a"]);
    const claim = fixture.claim("a");
    expect(fixture.started).toEqual(["a", "b"]);
    await fixture.finish("a", 1);
    expect(fixture.started).toEqual(["a", "b"]);
    claim[Symbol.dispose]();
    await fixture.finish("b", 2);
    expect(fixture.started).toEqual(["a", "b", "c"]);
  });

  test("counts an Apply that builds by itself", async () => {
    const fixture = new Fixture(2);
    using _ = fixture.claim("other");
    fixture.offer("a", "b");
    expect(fixture.started).toEqual(["a"]);
    await fixture.finish("a", 1);
    expect(fixture.started).toEqual(["a", "b"]);
  });

  test("builds with a single worker, too", () => {
    const fixture = new Fixture(1);
    fixture.offer("a", "b");
    expect(fixture.started).toEqual(["a"]);
  });

  test("does not run far ahead of Apply", async () => {
    const fixture = new Fixture(2);
    const digests = Array.from({ length: 10 }, (_, index) => `blob ${index}`);
    fixture.offer(...digests);
    for (const [layerId, digest] of digests.entries()) await fixture.finish(digest, layerId);
    expect(fixture.started).toEqual(digests.slice(0, 8));
    using _ = fixture.claim("blob 0");
    expect(fixture.started).toEqual(digests.slice(0, 9));
  });

  test("begins nothing where somebody else unpacks layers, until the next Apply", () => {
    const fixture = new Fixture(2);
    fixture.offer("a", "b");
    fixture.early.standDown();
    fixture.offer("c");
    fixture.claim("a")[Symbol.dispose]();
    fixture.offer("d");
    expect(fixture.started).toEqual(["a", "d"]);
  });

  test("begins nothing while memory is short", () => {
    const fixture = new Fixture(8);
    fixture.offer("a");
    fixture.residentBytes = 211 * MiB;
    fixture.offer("b");
    fixture.early.checkMemory();
    expect(fixture.started).toEqual(["a"]);
    fixture.residentBytes = 209 * MiB;
    fixture.early.checkMemory();
    expect(fixture.started).toEqual(["a", "b"]);
  });

  test("gives up the newest build that Apply has not come for when memory runs out", async () => {
    const fixture = new Fixture(8);
    fixture.offer("a", "b", "c");
    using _ = fixture.claim("c");
    fixture.residentBytes = 264 * MiB;
    fixture.early.checkMemory();
    const aborted = () => fixture.builds.map(({ signal }) => signal.aborted);
    expect(aborted()).toEqual([false, false, false]);
    fixture.residentBytes = 266 * MiB;
    fixture.early.checkMemory();
    // Memory comes back only when the build has ended.
    fixture.early.checkMemory();
    expect(aborted()).toEqual([false, true, false]);
    await Bun.sleep(0);
    fixture.early.checkMemory();
    expect(aborted()).toEqual([true, true, false]);
    using claim = fixture.claim("b");
    expect(await claim.layer).toBeUndefined();
  });

  test("gives up everything when it is closed", async () => {
    const fixture = new Fixture(3);
    fixture.offer("a", "b", "c");
    await fixture.finish("a", 1);
    await fixture.early.close();
    await waitUntil(() => fixture.ended.length === 1, "the layer is given up");
    expect(fixture.ended).toEqual([{ layerId: 1, isUsed: false }]);
    expect(fixture.builds.map(({ signal }) => signal.aborted)).toEqual([true, true, true]);
  });
});

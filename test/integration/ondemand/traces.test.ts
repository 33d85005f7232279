/** What a node learns from a start, and what another one makes of it: reads by the kernel. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { runCommand, waitUntil } from "../../../scripts/lib/process.ts";
import { KiB } from "../../../src/util/bytes.ts";
import type { PrefetchCause } from "../../../src/ondemand/control.ts";
import { parseTrace } from "../../../src/ondemand/trace/format.ts";
import { toHex } from "../../../src/util/bytes.ts";
import { ClientFixture, LyingServer } from "../../support/lying-registry.ts";
import { honestly, makeLazyPack, writeLazyPack } from "../../support/ondemand/lazy-pack.ts";
import { TestServer } from "../../support/ondemand/test-server.ts";
import { rejection } from "../../support/rejection.ts";

setDefaultTimeout(60_000);

const image = "registry.test/app:1";
const filesCount = 60;
/** So large that nothing beside them is guessed at (fill/neighbours.ts). */
const sizes = Array.from({ length: filesCount }, () => 160 * KiB);
const lower = makeLazyPack({ sizes, seed: "lower" });
const upper = makeLazyPack({ sizes, seed: "upper" });
const packs = { 512: lower, 513: upper } as const;

type Read = readonly [packId: 512 | 513, file: number];

/** What the program reads, here and there in both layers. */
const start: readonly Read[] = [40, 3, 22, 58, 1, 30, 31, 9].flatMap((file): Read[] => [
  [513, file],
  [512, filesCount - 1 - file],
]);

function hashOf([packId, file]: Read): string {
  return toHex(packs[packId].pieces[file]!.sha256);
}

/** A node with both packs exposed. */
class Node implements AsyncDisposable {
  readonly #registry = new LyingServer(honestly([lower, upper]));
  readonly #client = new ClientFixture().withServers(this.#registry);
  readonly dedupd: TestServer;
  readonly #paths = new Map<number, string>();

  constructor(backend: "fuse" | "fanotify", trace: "auto" | "off" = "auto") {
    this.dedupd = new TestServer(this.#client.client, { backend, trace, coalesce_bytes: 0 });
    for (const [packId, fixture] of Object.entries(packs)) {
      writeLazyPack(this.dedupd.root, Number(packId), fixture, "registry.test/app:1");
    }
  }

  get server() {
    return this.dedupd.server;
  }

  async expose(): Promise<void> {
    for (const packId of [512, 513]) this.#paths.set(packId, await this.server.expose(packId));
  }

  /** In processes of their own, past the page cache, so that nothing else is read. */
  async run(reads: readonly Read[]): Promise<void> {
    for (const [packId, file] of reads) {
      const from = `if=${this.#paths.get(packId)}`;
      await runCommand([
        "dd",
        from,
        "of=/dev/null",
        "bs=160K",
        "count=1",
        `skip=${file}`,
        "iflag=direct",
      ]);
    }
  }

  async figures(cause: PrefetchCause) {
    return (await this.server.status()).prefetched[cause];
  }

  async waits(): Promise<number> {
    return (await this.server.status()).counters.requests;
  }

  presentPieces(): number {
    return this.server.packs().reduce((sum, { presentPieces }) => sum + presentPieces, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const packId of this.#paths.keys()) await this.server.withdraw(packId);
    await this.dedupd[Symbol.asyncDispose]();
    this.#client[Symbol.dispose]();
    await this.#registry[Symbol.asyncDispose]();
  }
}

async function recorded(backend: "fuse" | "fanotify"): Promise<string> {
  await using node = new Node(backend);
  await node.server.start();
  await node.expose();
  await node.run(start);
  expect(await node.waits()).toBe(start.length);
  return node.server.trace(image).trace;
}

describe.each(["fuse", "fanotify"] as const)("the start of an image, by %s", (backend) => {
  test("is recorded across its layers, in its order, with what was there", async () => {
    await using node = new Node(backend);
    await node.server.start();
    await node.expose();
    const [there] = start;
    node.server.prefetch(there![0], { hashes: [hashOf(there!)] });
    await waitUntil(() => node.presentPieces() === 1, "nothing is prefetched");
    expect(await rejection(Promise.try(() => node.server.trace(image)))).toMatchObject({
      code: "not_found",
    });
    await node.run([...start, ...start]);
    expect(await node.waits()).toBe(start.length - 1);
    const entries = parseTrace(node.server.trace(image).trace, "trace");
    expect(entries.map(({ sha256 }) => sha256)).toEqual(start.map(hashOf));
    expect(entries[1]).toMatchObject({ digest: lower.digest, sizeBytes: 160 * KiB, starts: "x" });
    expect(await node.figures("request")).toMatchObject({ pieces: 1, usedPieces: 1 });
    const { counters } = await node.server.status();
    expect(counters.readBytes).toBe(start.length * 160 * KiB);
    // Stored when the process ends, and there for the next.
    await node.dedupd.restart();
    const after = parseTrace(node.server.trace(image).trace, "trace");
    expect(after.map(({ sha256 }) => sha256)).toEqual(start.map(hashOf));
  });

  test("waits for nothing on a node that has the trace", async () => {
    const trace = await recorded(backend);
    await using node = new Node(backend);
    await node.server.start();
    expect(node.server.putTrace("registry.test/app:1", { trace })).toEqual({
      pieces: start.length,
    });
    await node.expose();
    await waitUntil(() => node.presentPieces() === start.length, "the trace is not replayed");
    // The author's word is not asked for any more.
    expect(node.server.prefetch(512, { blobEndBytes: 10_000 })).toEqual({ pieces: 0, bytes: 0 });
    await node.run(start);
    expect(await node.waits()).toBe(0);
    const bytes = start.length * 160 * KiB;
    const [pieces, usedPieces] = [start.length, start.length];
    const used = { pieces, bytes, usedPieces, usedBytes: bytes };
    expect(await node.figures("trace")).toEqual({ ...used, unseenPieces: 0, unseenBytes: 0 });
  });

  test("is read ahead of by what another image read", async () => {
    const trace = await recorded(backend);
    await using node = new Node(backend);
    node.server.putTrace("registry.test/app:0", { trace });
    await node.server.start();
    await node.expose();
    expect(node.presentPieces()).toBe(0);
    await node.run(start.slice(0, 1));
    await waitUntil(() => node.presentPieces() === start.length, "nothing is predicted");
    await node.run(start);
    expect(await node.waits()).toBe(1);
    const pieces = start.length - 1;
    expect(await node.figures("predictor")).toMatchObject({ pieces, usedPieces: pieces });
  });

  test("is nobody's business where traces are off", async () => {
    const trace = await recorded(backend);
    await using node = new Node(backend, "off");
    node.server.putTrace("registry.test/app:1", { trace });
    await node.server.start();
    await node.expose();
    await node.run(start);
    expect(await node.waits()).toBe(start.length);
    expect(node.server.trace(image).trace).toBe(trace);
    expect((await node.server.status()).traces).toEqual({ recording: 0, predictorStopped: [] });
  });
});

describe("the predictor", () => {
  test("stops for an image that does other things than its trace says", async () => {
    await using node = new Node("fuse");
    const others = Object.keys(packs).flatMap((packId) =>
      Array.from(
        { length: filesCount - 10 },
        (_, file) => [Number(packId), file] as unknown as Read,
      ),
    );
    // The form that operators know.
    const trace = others.map(hashOf).join("\n");
    node.server.putTrace("registry.test/app:0", { trace });
    await node.server.start();
    await node.expose();
    // Every 30th only: all between them is fetched for nothing.
    for (let read = 0; read < others.length; read += 30) {
      await node.run([others[read]!]);
      await waitUntil(async () => (await node.server.status()).inFlight === 0, "still fetching");
    }
    const { traces } = await node.server.status();
    expect(traces.predictorStopped).toEqual([image]);
    const { pieces, usedPieces } = await node.figures("predictor");
    expect(pieces).toBeLessThan(others.length - 5);
    expect(usedPieces).toBeLessThan(pieces / 2);
  });
});

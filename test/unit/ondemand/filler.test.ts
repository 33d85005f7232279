/** Filling packs from registries that lie, stall and fail. */
import { describe, expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { KiB, MiB } from "../../../src/util/bytes.ts";
import { type Answer, ClientFixture, LyingServer } from "../../support/lying-registry.ts";
import { Filling } from "../../support/ondemand/filling.ts";
import { honestly, makeLazyPack } from "../../support/ondemand/lazy-pack.ts";
import { rejection } from "../../support/rejection.ts";

const chunkBytes = 64 * KiB;
const fixture = makeLazyPack({ sizes: [MiB, 10_000, 300_000, 4096, 2 * MiB], chunkBytes });
/** Its first piece is more than is held in memory at once. */
const large = makeLazyPack({
  format: "zstd-chunked",
  sizes: [34 * MiB, 100],
  chunkBytes: 33 * MiB,
});
const packBytes = fixture.content.length;
const honest = honestly([fixture]);

/** A registry whose first answers are others, then honest ones. */
function after(lies: readonly Answer[]): Answer {
  const left = [...lies];
  return (request, url) => (left.shift() ?? honest)(request, url);
}

function status(code: number, headers: Record<string, string> = {}): Answer {
  return () => new Response(null, { status: code, headers });
}

/** The right range and length; wrong bytes in its middle. */
async function wrongBytes(request: Request): Promise<Response> {
  const answer = honest(request);
  const bytes = Buffer.from(await answer.arrayBuffer());
  bytes.fill(0xff, bytes.length >> 1, (bytes.length >> 1) + 40);
  return new Response(bytes, { status: 206, headers: answer.headers });
}

async function truncated(request: Request): Promise<Response> {
  const answer = honest(request);
  const bytes = Buffer.from(await answer.arrayBuffer());
  return new Response(bytes.subarray(0, bytes.length - 1), answer);
}

async function shifted(request: Request): Promise<Response> {
  const answer = honest(request);
  const range = answer.headers.get("content-range") ?? "";
  const headers = { "content-range": range.replace(/\d+/, (at) => String(Number(at) + 1)) };
  return new Response(await answer.arrayBuffer(), { status: 206, headers });
}

function openFile(path: string, flags: string) {
  const fd = openSync(path, flags);
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
}

describe("Filler", () => {
  test.each<[string, Answer]>([
    ["wrong bytes", wrongBytes],
    ["a body that is cut off", truncated],
    ["another range", shifted],
    ["errors", status(503)],
    ["no such blob", status(404)],
    ["no permission", status(403)],
    ["too many requests", status(429, { "retry-after": "0" })],
  ])("asks again after %s", async (_, lie) => {
    await using registry = new LyingServer(after([lie, lie]));
    using client = new ClientFixture().withServers(registry);
    await using filling = new Filling(client.client);
    const pack = filling.open(512, fixture);
    await filling.read(512, 0, packBytes);
    expect(pack.isFull).toBe(true);
    expect(filling.isRight(pack, fixture)).toBe(true);
    expect(pack.reason).toBeUndefined();
  });

  test("takes the whole blob where a registry has no ranges, near its start", async () => {
    await using registry = new LyingServer(() => new Response(Uint8Array.from(fixture.blob)));
    using client = new ClientFixture().withServers(registry);
    await using filling = new Filling(client.client);
    const pack = filling.open(512, fixture);
    await filling.read(512, 0, 100_000);
    expect(filling.isRight(pack, fixture)).toBe(true);
  });

  test("takes wrong content from the next mirror, and tells of the one that sent it", async () => {
    await using liar = new LyingServer(wrongBytes);
    await using registry = new LyingServer(honest);
    using client = new ClientFixture().withServers(liar, registry);
    await using filling = new Filling(client.client);
    const pack = filling.open(512, fixture);
    await filling.read(512, 0, MiB);
    expect(filling.isRight(pack, fixture)).toBe(true);
    expect(filling.engine.counts.mismatches).toBeGreaterThan(0);
    const { events } = await filling.events.after(0);
    expect(events[0]).toMatchObject({ kind: "mismatch", packId: 512 });
    expect(events[0]?.message).toContain(liar.authority);
    // What was right in the first answer was kept, and the liar is asked after the others now.
    const asked = liar.asked.length;
    await filling.read(512, 0, packBytes);
    expect(liar.asked.length).toBe(asked);
  });

  test("fails a read when its time is over, with the reason; the next one asks anew", async () => {
    await using registry = new LyingServer(wrongBytes);
    using client = new ClientFixture().withServers(registry);
    await using filling = new Filling(client.client, { lazy: { read_timeout_ms: 1000 } });
    const pack = filling.open(512, fixture);
    const error = await rejection(filling.read(512, 0, 4096));
    expect(error).toMatchObject({ code: "unavailable" });
    expect(pack.reason).toContain("SHA-256");
    expect(filling.engine.counts).toMatchObject({ timeouts: 1, failedRequests: 1 });
    registry.answer = honest;
    await filling.read(512, 0, 4096);
    expect(filling.isRight(pack, fixture)).toBe(true);
  });

  test("fetches a piece once for any number of readers", async () => {
    await using registry = new LyingServer(honest);
    using client = new ClientFixture().withServers(registry);
    await using filling = new Filling(client.client);
    filling.open(512, fixture);
    await Promise.all(Array.from({ length: 50 }, () => filling.read(512, 100, 1000)));
    expect(registry.asked.length).toBe(1);
    await filling.read(512, 0, chunkBytes);
    expect(registry.asked.length).toBe(1);
  });

  test("fetches what is prefetched, and no more", async () => {
    await using registry = new LyingServer(honest);
    using client = new ClientFixture().withServers(registry);
    await using filling = new Filling(client.client);
    const pack = filling.open(512, fixture);
    const ranges: [number, number][] = [[0, chunkBytes + 1]];
    const asked = filling.engine.filler.prefetch(512, { ranges });
    expect(asked).toEqual({ pieces: 2, bytes: 2 * chunkBytes });
    await filling.until(() => pack.presentPieces === 2);
    const named = fixture.pieces.findIndex(({ sizeBytes }) => sizeBytes === 4096);
    const hashes = [Buffer.from(fixture.pieces[named]!.sha256).toString("hex"), "0".repeat(64)];
    expect(filling.engine.filler.prefetch(512, { hashes }).pieces).toBe(1);
    await filling.until(() => pack.presentPieces === 3);
    expect([0, 1, named].every((piece) => pack.presence.has(piece))).toBe(true);
    const blobEndBytes = fixture.pieces[4]!.blobOffsetBytes;
    expect(filling.engine.filler.prefetch(512, { blobEndBytes }).pieces).toBe(2);
    await filling.until(() => pack.presentPieces === 5);
    expect(filling.engine.filler.prefetch(512, {}).pieces).toBe(fixture.pieces.length - 5);
    await filling.until(() => pack.isFull);
    expect(filling.isRight(pack, fixture)).toBe(true);
  });

  test("completes packs in the background", async () => {
    await using registry = new LyingServer(after([status(503), wrongBytes]));
    using client = new ClientFixture().withServers(registry);
    await using filling = new Filling(client.client, { lazy: { background: "on" } });
    const pack = filling.open(512, fixture);
    await filling.until(() => pack.presentPieces > 0);
    expect(filling.isRight(pack, fixture)).toBe(true);
  });

  test("fetches what cannot be read of the pack that has it", async () => {
    await using registry = new LyingServer(honest);
    using client = new ClientFixture().withServers(registry);
    await using filling = new Filling(client.client);
    const broken = filling.open(512, fixture);
    await filling.read(512, 0, packBytes);
    const pack = filling.open(513, fixture);
    // As after an error of the disk: reads of this descriptor fail.
    using writeOnly = openFile(broken.path, "a");
    const { file } = broken;
    Object.assign(broken, { file: writeOnly.fd });
    await filling.read(513, 0, packBytes);
    Object.assign(broken, { file });
    expect(filling.isRight(pack, fixture)).toBe(true);
    expect(filling.engine.counts).toMatchObject({ copiedBytes: 0, retries: 0 });
  });

  test("answers who waits when the pack is taken away", async () => {
    const never = Promise.withResolvers<Response>();
    await using registry = new LyingServer(() => never.promise);
    using client = new ClientFixture().withServers(registry);
    await using filling = new Filling(client.client);
    filling.open(512, fixture);
    const reads = [filling.read(512, 0, 10), filling.read(512, 2 * MiB, 10)].map(rejection);
    filling.engine.filler.remove(512);
    const errors = await Promise.all(reads);
    expect(errors).toMatchObject([{ code: "cancelled" }, { code: "cancelled" }]);
    expect(await rejection(filling.read(512, 0, 10))).toMatchObject({ code: "not_found" });
    never.resolve(new Response());
  });

  test("decompresses a piece that is larger than memory should hold, as it comes", async () => {
    await using registry = new LyingServer(honestly([large]));
    using client = new ClientFixture().withServers(registry);
    await using filling = new Filling(client.client);
    const pack = filling.open(512, large);
    await filling.read(512, 33 * MiB, 4096);
    expect(pack.isFull).toBe(false);
    await filling.read(512, 0, large.content.length);
    expect(filling.isRight(pack, large)).toBe(true);
    expect(pack.isFull).toBe(true);
  });

  test("takes a large piece from the next mirror, and tells of the one that lied", async () => {
    const honestOfLarge = honestly([large]);
    await using liar: LyingServer = new LyingServer(async (request) => {
      const answer = honestOfLarge(request);
      if (liar.asked.length < 3) return answer;
      const bytes = Buffer.from(await answer.arrayBuffer()).fill(0xff, 0, 40);
      return new Response(bytes, answer);
    });
    await using registry = new LyingServer(honestOfLarge);
    using client = new ClientFixture().withServers(liar, registry);
    await using filling = new Filling(client.client);
    const pack = filling.open(512, large);
    await filling.read(512, 0, 4096);
    expect(pack.presence.has(0)).toBe(true);
    expect(filling.isRight(pack, large)).toBe(true);
    expect(filling.engine.counts).toMatchObject({ mismatches: 1, retries: 0 });
    const { events } = await filling.events.after(0);
    expect(events.map(({ message }) => message)).toEqual([
      `"${liar.authority}" sent wrong content at byte 0 of ${large.digest}`,
    ]);
  });
});

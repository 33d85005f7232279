/** The client against servers that lie, stall and fail. */
import { describe, expect, test } from "bun:test";
import { formatReference, parseReference } from "../../../src/registry/reference.ts";
import { verifyBlob } from "../../../src/registry/verify.ts";
import {
  BreakingServer,
  ClientFixture,
  LyingServer,
  testHost,
  type Answer,
} from "../../support/lying-registry.ts";
import { randomBytes } from "../../support/random.ts";
import { rejection } from "../../support/rejection.ts";

const content = randomBytes("blob", 300_000);
const digest = `sha256:${new Bun.CryptoHasher("sha256").update(content).digest("hex")}`;
const blob = { digest, sizeBytes: content.length };
const reference = parseReference(`${testHost}/app:1`);

/** Sends blobs as a registry should. */
function honest(request: Request): Response {
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
  if (range === null) return new Response(content);
  const [start, end] = [Number(range[1]), Number(range[2])];
  return rangeAnswer(start, content.subarray(start, end + 1));
}

function rangeAnswer(start: number, part: Uint8Array): Response {
  const end = start + part.length - 1;
  const headers = { "content-range": `bytes ${start}-${end}/${content.length}` };
  return new Response(Buffer.from(part), { status: 206, headers });
}

function status(code: number, headers: Record<string, string> = {}): Answer {
  return () => new Response(null, { status: code, headers });
}

async function readAll({ client }: ClientFixture): Promise<Uint8Array> {
  return Buffer.concat(await Array.fromAsync(client.blob(reference, blob)));
}

function readPart({ client }: ClientFixture): Promise<Uint8Array> {
  return client.blobRange(reference, digest, 1000, 500);
}

describe("blobRange()", () => {
  test("returns the range", async () => {
    await using server = new LyingServer(honest);
    using fixture = new ClientFixture().withServers(server);
    expect(await readPart(fixture)).toEqual(content.subarray(1000, 1500));
    expect(server.asked).toEqual([`GET /v2/app/blobs/${digest}`]);
  });

  test.each<[string, Answer, string]>([
    ["another range", () => rangeAnswer(0, content.subarray(0, 500)), "data_loss"],
    ["a shorter range", () => rangeAnswer(1000, content.subarray(1000, 1100)), "data_loss"],
    ["no Content-Range", () => new Response("x".repeat(500), { status: 206 }), "data_loss"],
    [
      "fewer bytes than it says",
      () => {
        const headers = { "content-range": "bytes 1000-1499/300000" };
        return new Response("short", { status: 206, headers });
      },
      "data_loss",
    ],
    [
      "more bytes than it says",
      () => {
        const headers = { "content-range": "bytes 1000-1499/300000" };
        return new Response("x".repeat(501), { status: 206, headers });
      },
      "data_loss",
    ],
    ["the end of the blob", status(416), "data_loss"],
    ["a teapot", status(418), "failed_precondition"],
    ["nothing it has", status(404), "not_found"],
  ])("refuses a server that sends %s", async (_, answer, code) => {
    await using server = new LyingServer(answer);
    using fixture = new ClientFixture().withServers(server);
    expect(await rejection(readPart(fixture))).toMatchObject({
      name: "RegistryError",
      code,
      host: server.authority,
      reference: `${testHost}/app@${digest}`,
    });
    expect(server.asked.length).toBe(1);
  });

  test("finds the range in a whole blob where that is cheap", async () => {
    await using server = new LyingServer(() => new Response(content));
    using fixture = new ClientFixture().withServers(server);
    expect(await readPart(fixture)).toEqual(content.subarray(1000, 1500));
  });

  test("does not read megabytes to get to a range", async () => {
    await using server = new LyingServer(() => new Response(content));
    using fixture = new ClientFixture().withServers(server);
    const part = fixture.client.blobRange(reference, digest, 2 ** 30, 10);
    expect(await rejection(part)).toMatchObject({ code: "unimplemented", status: 200 });
  });

  test("leaves a mirror that lies for the next, in the same call", async () => {
    await using liar = new LyingServer(() => rangeAnswer(0, content.subarray(0, 500)));
    await using absent = new LyingServer(status(404));
    await using server = new LyingServer(honest);
    using fixture = new ClientFixture().withServers(liar, absent, server);
    expect(await readPart(fixture)).toEqual(content.subarray(1000, 1500));
    expect(new URL(liar.requests[0]?.url ?? "").searchParams.get("ns")).toBe(testHost);
    expect([liar.asked.length, absent.asked.length, server.asked.length]).toEqual([1, 1, 1]);
  });

  test("asks a server that failed after the others for a while", async () => {
    await using broken = new LyingServer(status(503));
    await using server = new LyingServer(honest);
    using fixture = new ClientFixture().withServers(broken, server);
    await readPart(fixture);
    await readPart(fixture);
    expect(broken.asked.length).toBe(1);
    fixture.clock.advance(60_000);
    await readPart(fixture);
    expect(broken.asked.length).toBe(2);
  });

  test("does not wait for a mirror when the registry itself has no such blob", async () => {
    await using broken = new LyingServer(status(503));
    await using server = new LyingServer(status(404));
    using fixture = new ClientFixture().withServers(broken, server);
    expect(await rejection(readPart(fixture))).toMatchObject({
      code: "not_found",
      host: server.authority,
      message: expect.stringContaining(`${broken.authority} answered 503`) as string,
    });
    expect(fixture.clock.skipped).toEqual([]);
    expect(await fixture.client.hasBlob(reference, digest)).toBe(false);
  });

  test("waits out a storm of 5xx, longer each time", async () => {
    await using server: LyingServer = new LyingServer((request) =>
      server.asked.length < 4 ? new Response(null, { status: 502 }) : honest(request),
    );
    using fixture = new ClientFixture().withServers(server);
    expect(await readPart(fixture)).toEqual(content.subarray(1000, 1500));
    expect(fixture.clock.skipped).toEqual([187.5, 375, 750]);
  });

  test("gives up on a storm that does not end", async () => {
    await using server = new LyingServer(status(500));
    using fixture = new ClientFixture().withServers(server);
    expect(await rejection(readPart(fixture))).toMatchObject({ code: "unavailable", status: 500 });
    expect(server.asked.length).toBe(4);
  });

  test("waits as long as a 429 asks for, and no longer than is sensible", async () => {
    await using server = new LyingServer(status(429, { "retry-after": "1" }));
    using fixture = new ClientFixture().withServers(server);
    expect(await rejection(readPart(fixture))).toMatchObject({ code: "unavailable", status: 429 });
    expect(fixture.clock.skipped).toEqual([1000, 1000, 1000]);
    server.answer = status(429, { "retry-after": "86400" });
    await rejection(readPart(fixture));
    expect(server.asked.length).toBe(5);
  });

  test("leaves a server alone as long as it asks for, whatever is asked of it", async () => {
    await using busy = new LyingServer(status(429, { "retry-after": "50" }));
    await using server = new LyingServer(status(503, { "retry-after": "40" }));
    using fixture = new ClientFixture({ limits: { roundsMax: 1 } }).withServers(busy, server);
    const asked = () => [busy.asked.length, server.asked.length];
    await rejection(readPart(fixture));
    fixture.clock.advance(10_000);
    const error = await rejection(fixture.client.hasBlob(reference, `sha256:${"0".repeat(64)}`));
    expect(error).toMatchObject({ code: "unavailable", status: 503, retryAfterMs: 30_000 });
    expect(asked()).toEqual([1, 1]);
    server.answer = honest;
    fixture.clock.advance(30_000);
    expect(await readPart(fixture)).toEqual(content.subarray(1000, 1500));
    expect(asked()).toEqual([1, 2]);
  });

  test("never decodes what is sent", async () => {
    const packed = Bun.gzipSync("hello".repeat(100));
    await using server = new LyingServer((request) => {
      expect(request.headers.get("accept-encoding")).toBe("identity");
      const range = `bytes 0-${packed.length - 1}/${packed.length}`;
      const headers = { "content-encoding": "gzip", "content-range": range };
      return new Response(packed, { status: 206, headers });
    });
    using fixture = new ClientFixture().withServers(server);
    const bytes = await fixture.client.blobRange(reference, digest, 0, packed.length);
    expect(bytes).toEqual(Buffer.from(packed));
  });

  test("ends when its signal is aborted", async () => {
    const abort = new AbortController();
    await using server = new LyingServer(async () => {
      abort.abort();
      return new Promise<Response>(() => undefined);
    });
    using fixture = new ClientFixture().withServers(server);
    const part = fixture.client.blobRange(reference, digest, 0, 1, { signal: abort.signal });
    expect(await rejection(part)).toMatchObject({ code: "cancelled" });
    const late = fixture.client.blobRange(reference, digest, 0, 1, { signal: abort.signal });
    expect(await rejection(late)).toMatchObject({ code: "cancelled" });
    expect(server.asked.length).toBe(1);
  });

  test("cuts off a server that does not answer", async () => {
    await using server = new LyingServer(async () => {
      queueMicrotask(() => fixture.clock.advance(30_000));
      return new Promise<Response>(() => undefined);
    });
    using fixture = new ClientFixture().withServers(server);
    expect(await rejection(readPart(fixture))).toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("did not answer within 30000 ms") as string,
    });
  });

  test.each([
    [-1, 5],
    [0.5, 5],
    [0, 2 ** 40],
    [0, -1],
  ])("refuses to ask for %d, %d", async (offsetBytes, lengthBytes) => {
    using fixture = new ClientFixture();
    const part = fixture.client.blobRange(reference, digest, offsetBytes, lengthBytes);
    expect(await rejection(part)).toMatchObject({ code: "invalid_argument" });
  });
});

describe("blob()", () => {
  test("is the blob", async () => {
    await using server = new LyingServer(honest);
    using fixture = new ClientFixture().withServers(server);
    expect(Buffer.compare(await readAll(fixture), content)).toBe(0);
  });

  test("goes on at the next server where one breaks off", async () => {
    const half = content.subarray(0, 100_000);
    await using broken = await BreakingServer.start(content.length, half);
    await using server = new LyingServer(honest);
    using fixture = new ClientFixture().withServers(broken, server);
    const pieces: Uint8Array[] = [];
    for await (const piece of fixture.client.blob(reference, blob)) {
      pieces.push(piece);
      if (Buffer.concat(pieces).length === half.length) broken.breakOff();
    }
    expect(Buffer.compare(Buffer.concat(pieces), content)).toBe(0);
    expect(server.requests[0]?.headers.get("range")).toBe(`bytes=100000-${content.length - 1}`);
  });

  test("refuses a blob of another size", async () => {
    await using server = new LyingServer(() => new Response(content.subarray(1)));
    using fixture = new ClientFixture().withServers(server);
    expect(await rejection(readAll(fixture))).toMatchObject({ code: "data_loss" });
  });

  test("verifyBlob() finds wrong bytes", async () => {
    await using server = new LyingServer(() => new Response(Buffer.from(content).fill(0, 7, 8)));
    using fixture = new ClientFixture().withServers(server);
    const verified = verifyBlob(blob, fixture.client.blob(reference, blob));
    expect(await rejection(Array.fromAsync(verified))).toMatchObject({ code: "data_loss" });
  });

  test("gives connections back when a reader stops early", async () => {
    await using server = new LyingServer(honest);
    using fixture = new ClientFixture({ limits: { connectionsPerServer: 1 } }).withServers(server);
    for (let round = 0; round < 3; round++) {
      for await (const _ of fixture.client.blob(reference, blob)) break;
    }
    expect(server.asked.length).toBe(3);
  });
});

describe("manifest()", () => {
  test("refuses a manifest that has another digest", async () => {
    await using server = new LyingServer(() => new Response("{}"));
    using fixture = new ClientFixture().withServers(server);
    const manifest = fixture.client.manifest(reference, digest);
    expect(await rejection(manifest)).toMatchObject({ code: "data_loss" });
  });

  test("stops reading a manifest that has no end", async () => {
    const chunk = new Uint8Array(1 << 20);
    await using server = new LyingServer(
      () => new Response(new ReadableStream({ pull: (to) => to.enqueue(chunk) })),
    );
    using fixture = new ClientFixture().withServers(server);
    expect(await rejection(fixture.client.manifest(reference, "1"))).toMatchObject({
      code: "failed_precondition",
    });
  });

  test("shows no control characters of what a server says", async () => {
    const errors = [{ code: "DENIED", message: "\u001b[31mred" }];
    await using server = new LyingServer(() => Response.json({ errors }, { status: 403 }));
    using fixture = new ClientFixture().withServers(server);
    expect(await rejection(fixture.client.manifest(reference, "1"))).toMatchObject({
      code: "permission_denied",
      message: [
        `Registry ${server.authority}, ${formatReference(reference)}`,
        "answered 403 (DENIED \ufffd[31mred)",
      ].join(": "),
    });
  });
});

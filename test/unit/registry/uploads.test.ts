/** Uploads to servers that refuse large requests, send us elsewhere, or fail on the way. */
import { describe, expect, test } from "bun:test";
import { uploadPieceBytes } from "../../../src/registry/limits.ts";
import { parseReference } from "../../../src/registry/reference.ts";
import type { RegistryClientOptions } from "../../../src/registry/client.ts";
import { type Answer, ClientFixture, LyingServer, testHost } from "../../support/lying-registry.ts";
import { rejection } from "../../support/rejection.ts";

const content = Buffer.alloc(2 * uploadPieceBytes + 5, "dedup");
const digest = `sha256:${new Bun.CryptoHasher("sha256").update(content).digest("hex")}`;
const blob = { digest, sizeBytes: content.length };
const reference = parseReference(`${testHost}/app:1`);
const uploads = "/v2/app/blobs/uploads/";

async function* pieces(): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < content.length; at += 1_000_000) yield content.subarray(at, at + 1_000_000);
}

async function* breakingPieces(): AsyncGenerator<Uint8Array, void> {
  yield content.subarray(0, 10);
  throw new Error("the source broke");
}

function accepted(location: string): Response {
  return new Response(null, { status: 202, headers: { location } });
}

/** A registry without the blob, that asks for a password. */
function registry(answer: Answer, options: RegistryClientOptions = {}) {
  const server = new LyingServer((request, url) => {
    if (!request.headers.has("authorization")) {
      return new Response(null, { status: 401, headers: { "www-authenticate": "Basic" } });
    }
    return request.method === "HEAD" ? new Response(null, { status: 404 }) : answer(request, url);
  });
  const fixture = new ClientFixture(options).withServers(server);
  return { server, fixture: fixture.withLogin(server.authority, "user", "password") };
}

describe("uploadBlob()", () => {
  test("sends the blob in pieces where it is too large as a whole", async () => {
    const parts: Buffer[] = [];
    const ranges: (string | null)[] = [];
    const { server, fixture } = registry(async (request, url) => {
      if (request.method === "POST") return accepted("/up/0?state=a%2Fb");
      const bytes = Buffer.from(await request.arrayBuffer());
      if (bytes.length > uploadPieceBytes) return new Response(null, { status: 413 });
      if (request.method === "PUT") {
        expect(url.search).toBe(`?state=a%2Fb&digest=${encodeURIComponent(digest)}`);
        return new Response(null, { status: 201 });
      }
      ranges.push(request.headers.get("content-range"));
      parts.push(bytes);
      return accepted(`/up/${parts.length}?state=a%2Fb`);
    });
    using _ = fixture;
    await using __ = server;
    expect(await fixture.client.uploadBlob(reference, blob, pieces)).toBe("uploaded");
    expect(Buffer.concat(parts).equals(content)).toBe(true);
    expect(ranges).toEqual([
      `0-${uploadPieceBytes - 1}`,
      `${uploadPieceBytes}-${2 * uploadPieceBytes - 1}`,
      `${2 * uploadPieceBytes}-${content.length - 1}`,
    ]);
    expect(server.asked.at(-1)).toBe("PUT /up/3");
  });

  test("sends the blob elsewhere without the password", async () => {
    await using storage = new LyingServer(async (request) => {
      expect(Buffer.from(await request.arrayBuffer()).equals(content)).toBe(true);
      return new Response(null, { status: 201 });
    });
    const { server, fixture } = registry(() => accepted(`${storage.origin}/bucket`));
    using _ = fixture;
    await using __ = server;
    expect(await fixture.client.uploadBlob(reference, blob, pieces)).toBe("uploaded");
    expect(storage.asked).toEqual(["PUT /bucket"]);
    expect(storage.requests[0]?.headers.has("authorization")).toBe(false);
  });

  test("brings a blob from the server it goes to over one connection each way", async () => {
    const { server, fixture } = registry(
      async (request, url) => {
        if (request.method === "POST") return accepted(`${uploads}1`);
        if (request.method === "GET") return new Response(content);
        expect(url.pathname).toBe(`${uploads}1`);
        expect(Buffer.from(await request.arrayBuffer()).equals(content)).toBe(true);
        return new Response(null, { status: 201 });
      },
      { limits: { connectionsPerServer: 1 } },
    );
    using _ = fixture;
    await using __ = server;
    const from = () => fixture.client.blob(reference, blob);
    expect(await fixture.client.uploadBlob(reference, blob, from)).toBe("uploaded");
  });

  test("begins anew where the registry fails on the way", async () => {
    let failures = 0;
    const { server, fixture } = registry(async (request) => {
      if (request.method === "POST") return accepted(`${uploads}1`);
      const sizeBytes = (await request.arrayBuffer()).byteLength;
      if (failures++ === 0) return new Response(null, { status: 502 });
      expect(sizeBytes).toBe(content.length);
      return new Response(null, { status: 201 });
    });
    using _ = fixture;
    await using __ = server;
    expect(await fixture.client.uploadBlob(reference, blob, pieces)).toBe("uploaded");
    expect(server.asked.filter((asked) => asked === `POST ${uploads}`).length).toBe(2);
  });

  test("ends with the error of the source", async () => {
    const { server, fixture } = registry(async (request) => {
      if (request.method === "POST") return accepted(`${uploads}1`);
      await request.arrayBuffer();
      return new Response(null, { status: 201 });
    });
    using _ = fixture;
    await using __ = server;
    const upload = fixture.client.uploadBlob(reference, blob, breakingPieces);
    expect(await rejection(upload)).toMatchObject({
      message: expect.stringContaining("the source broke") as string,
    });
    expect(server.asked.filter((asked) => asked.startsWith("PUT")).length).toBeLessThan(2);
  });

  test.each(["http://169.254.169.254/up", "file:///up"])("does not go to %s", async (location) => {
    const { server, fixture } = registry(() => accepted(location));
    using _ = fixture;
    await using __ = server;
    const upload = fixture.client.uploadBlob(reference, blob, pieces);
    expect(await rejection(upload)).toMatchObject({ code: "failed_precondition" });
  });
});

describe("putManifest()", () => {
  test("finds out when the registry stored something else", async () => {
    const headers = { "docker-content-digest": digest };
    const { server, fixture } = registry(() => new Response(null, { status: 201, headers }));
    using _ = fixture;
    await using __ = server;
    const put = fixture.client.putManifest(reference, Buffer.from("{}"), "a/b");
    expect(await rejection(put)).toMatchObject({ code: "data_loss" });
  });
});

/** Where servers send the client on to, and what it takes along. */
import { describe, expect, test } from "bun:test";
import { isForbiddenAddress } from "../../../src/registry/link-local.ts";
import { parseReference } from "../../../src/registry/reference.ts";
import { ClientFixture, LyingServer, testHost } from "../../support/lying-registry.ts";
import { rejection } from "../../support/rejection.ts";

const digest = `sha256:${"0".repeat(64)}`;
const reference = parseReference(`${testHost}/app:1`);

function redirectTo(location: string): Response {
  return new Response(null, { status: 307, headers: { location } });
}

function rangeOf(text: string): Response {
  const headers = { "content-range": `bytes 0-${text.length - 1}/100` };
  return new Response(text, { status: 206, headers });
}

function read({ client }: ClientFixture): Promise<Uint8Array> {
  return client.blobRange(reference, digest, 0, 4);
}

async function lookupMetadata(): Promise<string[]> {
  return ["192.0.2.1", "169.254.169.254"];
}

describe("a redirect", () => {
  test("to another origin takes neither credentials nor headers of hosts.toml along", async () => {
    await using storage = new LyingServer(() => rangeOf("data"));
    await using server = new LyingServer((request) =>
      request.headers.has("authorization")
        ? redirectTo(`${storage.origin.replace("http://", "http://u:p@")}/blob?signature=s%2Fx`)
        : new Response(null, { status: 401, headers: { "www-authenticate": "Basic" } }),
    );
    using fixture = new ClientFixture()
      .writeHosts(`server = "${server.origin}"\n[header]\nx-secret = "s"`)
      .withLogin(server.authority, "user", "password");
    expect(Buffer.from(await read(fixture)).toString()).toBe("data");
    const [asked] = storage.requests;
    expect(asked?.headers.get("range")).toBe("bytes=0-3");
    expect(asked?.headers.has("authorization")).toBe(false);
    expect(asked?.headers.has("x-secret")).toBe(false);
    expect(asked?.url).toEndWith("/blob?signature=s%2Fx");
    expect(server.requests.at(-1)?.headers.has("x-secret")).toBe(true);
  });

  test("there and back takes nothing along either", async () => {
    await using other = new LyingServer(() => redirectTo(`${server.origin}/end`));
    await using server: LyingServer = new LyingServer((request, { pathname }) => {
      if (pathname === "/end") return rangeOf("back");
      if (request.headers.has("authorization")) return redirectTo(other.origin);
      return new Response(null, { status: 401, headers: { "www-authenticate": "Basic" } });
    });
    using fixture = new ClientFixture()
      .withServers(server)
      .withLogin(server.authority, "user", "password");
    expect(Buffer.from(await read(fixture)).toString()).toBe("back");
    expect(server.requests.at(-1)?.headers.has("authorization")).toBe(false);
  });

  test("within the server keeps the credentials", async () => {
    await using server = new LyingServer((request, { pathname }) => {
      if (!request.headers.has("authorization")) {
        return new Response(null, { status: 401, headers: { "www-authenticate": "Basic" } });
      }
      return pathname === "/moved" ? rangeOf("kept") : redirectTo("/moved");
    });
    using fixture = new ClientFixture()
      .withServers(server)
      .withLogin(server.authority, "user", "password");
    expect(Buffer.from(await read(fixture)).toString()).toBe("kept");
  });

  test("that never ends is given up, at once and for good", async () => {
    await using server = new LyingServer((_, { pathname }) => redirectTo(`${pathname}x`));
    using fixture = new ClientFixture().withServers(server);
    expect(await rejection(read(fixture))).toMatchObject({ code: "failed_precondition" });
    expect(server.asked.length).toBe(6);
  });

  test.each([
    "http://169.254.169.254/latest/meta-data",
    "http://0xa9fea9fe/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/",
    "http://metadata.test/",
  ])("to %s is refused, and the next mirror asked", async (location) => {
    await using evil = new LyingServer(() => redirectTo(location));
    await using server = new LyingServer(() => rangeOf("good"));
    using fixture = new ClientFixture({ lookup: lookupMetadata }).withServers(evil);
    expect(await rejection(read(fixture))).toMatchObject({
      code: "failed_precondition",
      message: expect.stringContaining("link-local or metadata address") as string,
    });
    fixture.withServers(evil, server).clock.advance(60_000);
    expect(Buffer.from(await read(fixture)).toString()).toBe("good");
  });

  test("connects to the address that was checked", async () => {
    await using storage = new LyingServer(() => rangeOf("data"));
    const port = storage.authority.split(":")[1];
    await using server = new LyingServer(() => redirectTo(`http://storage.test:${port}/blob`));
    using fixture = new ClientFixture({ lookup: async () => ["127.0.0.1"] }).withServers(server);
    expect(Buffer.from(await read(fixture)).toString()).toBe("data");
    expect(storage.requests[0]?.headers.get("host")).toBe(`storage.test:${port}`);
  });

  test.each(["file:///etc/passwd", "ftp://example.test/", "http://[", ""])(
    "to %j is refused",
    async (location) => {
      await using server = new LyingServer(() => redirectTo(location));
      using fixture = new ClientFixture({ limits: { roundsMax: 1 } }).withServers(server);
      expect(await rejection(read(fixture))).toMatchObject({ code: "failed_precondition" });
    },
  );
});

describe("isForbiddenAddress()", () => {
  test.each([
    "169.254.0.1",
    "fe80::1",
    "febf::1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::6464:64c8",
  ])("refuses %s", (address) => expect(isForbiddenAddress(address)).toBe(true));
  test.each(["127.0.0.1", "10.0.0.1", "169.253.0.1", "::1", "fec0::1", "::ffff:7f00:1"])(
    "allows %s",
    (address) => expect(isForbiddenAddress(address)).toBe(false),
  );
});

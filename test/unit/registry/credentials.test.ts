/** Who the client is to servers: challenges, tokens, docker's config.json and its helpers. */
import { describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { credentialHelper } from "../../../src/registry/credential-helper.ts";
import { DockerConfig, type Credentials } from "../../../src/registry/docker-config.ts";
import { parseReference } from "../../../src/registry/reference.ts";
import { ClientFixture, LyingServer, testHost } from "../../support/lying-registry.ts";
import { rejection } from "../../support/rejection.ts";

const digest = `sha256:${"0".repeat(64)}`;
const reference = parseReference(`${testHost}/app:1`);

function read({ client }: ClientFixture): Promise<Uint8Array> {
  return client.blobRange(reference, digest, 0, 4);
}

function refuse(realm: string): Response {
  const challenge = `Bearer realm="${realm}",service="s",scope="repository:app:pull"`;
  return new Response(null, { status: 401, headers: { "www-authenticate": challenge } });
}

/** A registry that takes the tokens that a token service gives out, each for a number of uses. */
class TokenRegistry implements AsyncDisposable {
  usesLeft = 0;
  readonly usesPerToken: number;
  expiresIn = 300;
  /** What was sent to the token service. */
  readonly forms: string[] = [];
  readonly tokens: LyingServer;
  readonly server: LyingServer;

  constructor(usesPerToken = Number.POSITIVE_INFINITY) {
    this.usesPerToken = usesPerToken;
    this.tokens = new LyingServer(async (request, url) => {
      this.forms.push(request.method === "POST" ? await request.text() : url.search);
      this.usesLeft = this.usesPerToken;
      return Response.json({ token: `t${this.forms.length}`, expires_in: this.expiresIn });
    });
    this.server = new LyingServer((request) => {
      const isGood = request.headers.get("authorization") === `Bearer t${this.forms.length}`;
      if (!isGood || this.usesLeft-- <= 0) return refuse(`${this.tokens.origin}/token`);
      return new Response("data", { status: 206, headers: { "content-range": "bytes 0-3/4" } });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tokens[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

describe("a bearer token", () => {
  test("is asked for once, however many wait for it", async () => {
    await using registry = new TokenRegistry();
    using fixture = new ClientFixture().withServers(registry.server);
    await Promise.all(Array.from({ length: 10 }, () => read(fixture)));
    await read(fixture);
    expect(registry.forms).toEqual(["?service=s&scope=repository%3Aapp%3Apull"]);
    expect(registry.tokens.requests[0]?.headers.has("authorization")).toBe(false);
  });

  test("is asked for with the password, which goes to nobody else", async () => {
    await using registry = new TokenRegistry();
    const { server, tokens } = registry;
    using fixture = new ClientFixture()
      .withServers(server)
      .withLogin(server.authority, "user", "pass:word");
    await read(fixture);
    const basic = `Basic ${Buffer.from("user:pass:word").toString("base64")}`;
    expect(tokens.requests[0]?.headers.get("authorization")).toBe(basic);
    expect(server.requests.map(({ headers }) => headers.get("authorization"))).toEqual([
      null,
      "Bearer t1",
    ]);
  });

  test("is exchanged for an identity token", async () => {
    await using registry = new TokenRegistry();
    const { server } = registry;
    using fixture = new ClientFixture()
      .withServers(server)
      .writeConfig({ auths: { [server.authority]: { identitytoken: "refresh" } } });
    await read(fixture);
    expect(Object.fromEntries(new URLSearchParams(registry.forms[0]))).toEqual({
      grant_type: "refresh_token",
      refresh_token: "refresh",
      client_id: "dedup-snapshotter",
      service: "s",
      scope: "repository:app:pull",
    });
  });

  test("is asked for anew when the registry refuses it", async () => {
    await using registry = new TokenRegistry(1);
    using fixture = new ClientFixture().withServers(registry.server);
    await read(fixture);
    await read(fixture);
    expect(registry.forms.length).toBe(2);
  });

  test("is asked for anew before it ends", async () => {
    await using registry = new TokenRegistry();
    using fixture = new ClientFixture().withServers(registry.server);
    await read(fixture);
    fixture.clock.advance(0.89 * 300_000);
    await read(fixture);
    expect(registry.forms.length).toBe(1);
    fixture.clock.advance(0.02 * 300_000);
    await read(fixture);
    expect(registry.forms.length).toBe(2);
  });

  test("is not waited for by who left", async () => {
    await using registry = new TokenRegistry();
    const abort = new AbortController();
    const { promise, resolve } = Promise.withResolvers<Response>();
    registry.tokens.answer = () => {
      queueMicrotask(() => abort.abort());
      return promise;
    };
    using fixture = new ClientFixture().withServers(registry.server);
    const call = { signal: abort.signal };
    const leaving = fixture.client.blobRange(reference, digest, 0, 4, call);
    expect(await rejection(leaving)).toMatchObject({ code: "cancelled" });
    const staying = read(fixture);
    registry.forms.push("");
    registry.usesLeft = 1;
    resolve(Response.json({ token: "t1" }));
    expect(Buffer.from(await staying).toString()).toBe("data");
    expect(registry.tokens.asked.length).toBe(1);
  });

  test("that does not help either ends the call", async () => {
    await using registry = new TokenRegistry(0);
    using fixture = new ClientFixture().withServers(registry.server);
    expect(await rejection(read(fixture))).toMatchObject({ code: "permission_denied" });
    expect(registry.server.asked.length).toBe(2);
  });

  test.each<[string, () => Response, string]>([
    ["refuses", () => new Response(null, { status: 403 }), "permission_denied"],
    ["fails", () => new Response(null, { status: 500 }), "unavailable"],
    ["sends no JSON", () => new Response("<html>"), "unavailable"],
    ["sends no token", () => Response.json({}), "permission_denied"],
    ["breaks lines", () => Response.json({ token: "a\r\nX: y" }), "permission_denied"],
    ["never stops", () => new Response(new Uint8Array(1 << 20)), "failed_precondition"],
    ["redirects", () => Response.redirect("http://127.0.0.1:1/", 307), "failed_precondition"],
  ])("of a service that %s is none", async (_, answer, code) => {
    await using registry = new TokenRegistry();
    registry.tokens.answer = answer;
    using fixture = new ClientFixture({ limits: { roundsMax: 1 } }).withServers(registry.server);
    expect(await rejection(read(fixture))).toMatchObject({ code });
  });

  test("is not asked for at a metadata service", async () => {
    await using server = new LyingServer(() => refuse("http://169.254.169.254/token"));
    using fixture = new ClientFixture().withServers(server);
    expect(await rejection(read(fixture))).toMatchObject({ code: "failed_precondition" });
  });
});

async function findIn(config: object, authority: string, helper?: Credentials) {
  using scratch = scratchFolder("registry");
  const file = join(scratch.path, "config.json");
  writeFileSync(file, JSON.stringify(config));
  const asked: string[] = [];
  const run = async (name: string, server: string) => {
    asked.push(`${name} ${server}`);
    return helper;
  };
  return { found: await new DockerConfig(file, run).find(authority), asked };
}

describe("a config.json that cannot be read", () => {
  test("ends the call, and gives the connection back", async () => {
    await using registry = new TokenRegistry();
    using fixture = new ClientFixture({ limits: { connectionsPerServer: 1 } });
    fixture.withServers(registry.server).writeConfig({ auths: 5 });
    for (let round = 0; round < 2; round++) {
      expect(await rejection(read(fixture))).toMatchObject({ code: "invalid_argument" });
    }
  });
});

describe("DockerConfig.find()", () => {
  const auth = Buffer.from("user:pass").toString("base64");
  const user: Credentials = { kind: "password", username: "user", password: "pass" };

  test.each<[string, object, string, Credentials | undefined]>([
    ["by host", { auths: { "a.test:5000": { auth } } }, "a.test:5000", user],
    ["of another host", { auths: { "a.test": { auth } } }, "b.test", undefined],
    ["by the URL of old", { auths: { "https://a.test/v1/": { auth } } }, "a.test", user],
    [
      "of Docker Hub",
      { auths: { "https://index.docker.io/v1/": { auth } } },
      "registry-1.docker.io",
      user,
    ],
    [
      "in the clear",
      { auths: { "a.test": { username: "user", password: "pass" } } },
      "a.test",
      user,
    ],
    [
      "as a token",
      { auths: { "a.test": { registrytoken: "t" } } },
      "a.test",
      { kind: "bearer", token: "t" },
    ],
    ["that are empty", { auths: { "a.test": {} } }, "a.test", undefined],
  ])("finds credentials %s", async (_, config, authority, expected) => {
    expect((await findIn(config, authority)).found).toEqual(expected);
  });

  test("asks the helper of the host, else the one of all hosts", async () => {
    const config = { credHelpers: { "a.test": "one" }, credsStore: "all" };
    expect(await findIn(config, "a.test", user)).toEqual({ found: user, asked: ["one a.test"] });
    expect(await findIn(config, "b.test", user)).toEqual({ found: user, asked: ["all b.test"] });
    expect((await findIn(config, "registry-1.docker.io")).asked).toEqual([
      "all https://index.docker.io/v1/",
    ]);
  });

  test("knows nobody without a file, and refuses one it cannot read", async () => {
    expect(await new DockerConfig("/nowhere", async () => user).find("a.test")).toBeUndefined();
    expect(await rejection(findIn({ auths: 5 }, "a.test"))).toMatchObject({
      code: "invalid_argument",
    });
    const broken = findIn({ auths: { "a.test": { auth: "%%%" } } }, "a.test");
    expect(await rejection(broken)).toMatchObject({ code: "invalid_argument" });
  });
});

async function runHelper(script: string, timeoutMs = 60_000): Promise<Credentials | undefined> {
  using scratch = scratchFolder("registry");
  const file = join(scratch.path, "docker-credential-test");
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  const environment = { PATH: `${scratch.path}:${process.env["PATH"]}` };
  return await credentialHelper(timeoutMs, environment)("test", "a.test");
}

describe("credentialHelper()", () => {
  test("hands the server in and takes name and secret out", async () => {
    const script = `read server; printf '{"Username":"%s %s","Secret":"s"}' "$1" "$server"`;
    expect(await runHelper(script)).toEqual({
      kind: "password",
      username: "get a.test",
      password: "s",
    });
  });

  test("takes an identity token", async () => {
    const answer = JSON.stringify({ Username: "<token>", Secret: "s" });
    expect(await runHelper(`echo '${answer}'`)).toEqual({ kind: "identity", token: "s" });
  });

  test("knows when there are no credentials", async () => {
    const script = "echo 'credentials not found in native keychain'; exit 1";
    expect(await runHelper(script)).toBeUndefined();
  });

  test.each([
    ["fails", "exit 3"],
    ["says nothing", "true"],
    ["says something else", "echo '{}'"],
    ["never stops", "yes"],
  ])("rejects where the helper %s", async (_, script) => {
    expect(await rejection(runHelper(script))).toMatchObject({ code: "unavailable" });
  });

  test("kills a helper that takes too long", async () => {
    expect(await rejection(runHelper("exec sleep 600", 50))).toMatchObject({ code: "unavailable" });
  });

  test("does not wait for what the helper leaves behind", async () => {
    using folder = scratchFolder("helper");
    const script = `sleep 600 & echo $! > '${folder.path}/pid'; exec sleep 600`;
    const running = runHelper(script, 500);
    expect(await rejection(running)).toMatchObject({ code: "unavailable" });
    process.kill(Number(readFileSync(`${folder.path}/pid`, "utf8")));
  });

  test.each(["../evil", "a/b", "", "-x"])("does not run %j", async (name) => {
    expect(await rejection(credentialHelper(1000)(name, "a.test"))).toMatchObject({
      code: "unavailable",
    });
  });
});

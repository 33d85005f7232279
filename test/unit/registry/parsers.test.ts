/** What users, servers and files write: references, challenges, hosts.toml, Retry-After. */
import { describe, expect, test } from "bun:test";
import { parseChallenges } from "../../../src/registry/challenge.ts";
import { parseHostsFile } from "../../../src/registry/hosts-file.ts";
import { allCapabilities, defaultHost, mayFallBack } from "../../../src/registry/hosts.ts";
import { formatReference, parseReference } from "../../../src/registry/reference.ts";
import { readDiagnostics, readRetryAfter } from "../../../src/registry/status-error.ts";

const sha256 = `sha256:${"a".repeat(64)}`;

describe("parseReference()", () => {
  test.each([
    ["debian", "docker.io/library/debian:latest"],
    ["debian:12", "docker.io/library/debian:12"],
    ["user/app", "docker.io/user/app:latest"],
    ["docker.io/debian", "docker.io/library/debian:latest"],
    ["index.docker.io/library/debian", "docker.io/library/debian:latest"],
    ["ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"],
    ["localhost/a", "localhost/a:latest"],
    ["localhost:5000/a:1", "localhost:5000/a:1"],
    ["registry:5000/a", "registry:5000/a:latest"],
    ["UPPER/a", "UPPER/a:latest"],
    ["[::1]:5000/a", "[::1]:5000/a:latest"],
    [`a@${sha256}`, `docker.io/library/a@${sha256}`],
    [`x.test/a:1@${sha256}`, `x.test/a:1@${sha256}`],
    ["a__b/c-d.e", "docker.io/a__b/c-d.e:latest"],
  ])("reads %s", (text, full) => {
    expect(formatReference(parseReference(text))).toBe(full);
    expect(parseReference(full)).toEqual(parseReference(text));
  });

  test.each([
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    "x.test/A",
    "a:",
    "a:-tag",
    `a:${"t".repeat(129)}`,
    "a@sha256:short",
    `a@${sha256}@${sha256}`,
    "x.test/../etc",
    "x.test/a?b",
    "x.test:port/a",
    "http://x.test/a",
    "user@x.test/a",
    `x.test/${"a".repeat(256)}`,
    "a b",
    "a\n",
  ])("refuses %j", (text) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ code: "invalid_argument" }),
    );
  });
});

function readChallenges(header: string): unknown[] {
  const challenges = parseChallenges(header);
  return challenges.map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
}

describe("parseChallenges()", () => {
  test("reads several challenges from one header", () => {
    const header = [
      String.raw`Basic realm="a, \"b\""`,
      'Bearer realm="https://t.test/x",service=s , scope="a:b:pull c:d:push"',
    ].join(", ");
    expect(readChallenges(header)).toEqual([
      ["basic", { realm: 'a, "b"' }],
      ["bearer", { realm: "https://t.test/x", service: "s", scope: "a:b:pull c:d:push" }],
    ]);
  });

  test("reads only the beginning of a header that is absurdly long", () => {
    const [bearer] = parseChallenges(`Bearer ${'a="b",'.repeat(100_000)} c=d`);
    expect(bearer?.parameters.has("c")).toBe(false);
  });

  test.each<[string, unknown]>([
    ["", []],
    ["Basic", [["basic", {}]]],
    [
      "Negotiate, BASIC realm=x",
      [
        ["negotiate", {}],
        ["basic", { realm: "x" }],
      ],
    ],
    ['Bearer realm="unclosed', [["bearer", {}]]],
    ["=", []],
  ])("reads %j", (header, expected) => {
    expect(readChallenges(header)).toEqual(expected as never);
  });
});

function parse(content: string) {
  return parseHostsFile(content, "/certs/x.test", "x.test");
}

describe("parseHostsFile()", () => {
  test("gives mirrors in their order, then the registry", () => {
    const hosts = parse(`
      server = "https://x.test"
      [host."http://10.0.0.1:5000"]
        capabilities = ["pull", "Resolve"]
        skip_verify = true
        ca = "ca.pem"
        client = [["a.cert", "a.key"], "/both.pem"]
        dial_timeout = "1s"
        [host."http://10.0.0.1:5000".header]
          x-one = "1"
          x-two = ["2", "3"]
      [host."mirror.test/prefix"]
        ca = ["/a.pem", "b.pem"]
      [host."https://whole.test/v2/proxy"]
        override_path = true
        client = "c.pem"`);
    expect(hosts.map(({ scheme, authority, path }) => `${scheme}://${authority}${path}`)).toEqual([
      "http://10.0.0.1:5000/v2",
      "https://mirror.test/prefix/v2",
      "https://whole.test/v2/proxy",
      "https://x.test/v2",
    ]);
    expect(hosts[0]).toEqual({
      scheme: "http",
      authority: "10.0.0.1:5000",
      path: "/v2",
      capabilities: new Set(["pull", "resolve"]),
      caFiles: ["/certs/x.test/ca.pem"],
      clientFiles: [
        ["/certs/x.test/a.cert", "/certs/x.test/a.key"],
        ["/both.pem", "/both.pem"],
      ],
      skipVerify: true,
      headers: [
        ["x-one", "1"],
        ["x-two", "2"],
        ["x-two", "3"],
      ],
    });
    expect(hosts[1]?.caFiles).toEqual(["/a.pem", "/certs/x.test/b.pem"]);
    expect(hosts[2]?.clientFiles).toEqual([["/certs/x.test/c.pem", "/certs/x.test/c.pem"]]);
    expect(hosts[3]?.capabilities).toEqual(allCapabilities);
  });

  test("without a server means the registry itself, with the settings of the root", () => {
    expect(parse('ca = "a.pem"\n[header]\nx = "1"')).toEqual([
      { ...defaultHost("x.test"), caFiles: ["/certs/x.test/a.pem"], headers: [["x", "1"]] },
    ]);
    const [hub] = parseHostsFile("skip_verify = false", "/c", "docker.io");
    expect(hub).toMatchObject({ authority: "registry-1.docker.io", skipVerify: false });
  });

  test.each([
    "server = ",
    'capabilities = ["fly"]',
    "ca = 5",
    'client = [["a", "b", "c"]]',
    '[host."https://user:pass@x.test"]',
    '[header]\nx = "a\\r\\nb"',
    'server = "https://"',
  ])("refuses %j by the name of the file", (content) => {
    expect(() => parse(content)).toThrow('Cannot read "/certs/x.test/hosts.toml"');
  });
});

describe("defaultHost()", () => {
  test.each([
    ["docker.io", "https://registry-1.docker.io", false, false],
    ["x.test:5000", "https://x.test:5000", false, false],
    ["localhost", "https://localhost", true, false],
    ["127.0.0.1:5000", "http://127.0.0.1:5000", true, true],
    ["[::1]:80", "http://[::1]:80", false, false],
    ["127.0.0.1.evil.test:5000", "https://127.0.0.1.evil.test:5000", false, false],
  ])("of %s is %s", (registry, origin, skipsVerification, fallsBack) => {
    const host = defaultHost(registry);
    expect(`${host.scheme}://${host.authority}`).toBe(origin);
    expect(host.skipVerify === true).toBe(skipsVerification);
    expect(mayFallBack(host)).toBe(fallsBack);
  });
});

describe("readRetryAfter()", () => {
  const date = "Fri, 21 Nov 2025 05:00:00 GMT";
  test.each<[Record<string, string>, number | undefined]>([
    [{}, undefined],
    [{ "retry-after": "7" }, 7000],
    [{ "retry-after": "-7", date }, undefined],
    [{ "retry-after": "Fri, 21 Nov 2025 05:00:30 GMT", date }, 30_000],
    [{ "retry-after": date, date: "Fri, 21 Nov 2025 05:00:30 GMT" }, 0],
    [{ "retry-after": date }, undefined],
  ])("of %j is %p", (headers, expected) => {
    expect(readRetryAfter(new Headers(headers))).toBe(expected as never);
  });
});

describe("readDiagnostics()", () => {
  test.each<[string, string]>([
    ['{"errors":[{"code":"A","message":"b"},{"code":"C"}]}', "A b; C"],
    ["<html>", ""],
    ["null", ""],
    ['{"errors":[null, 5, {}]}', "; ; "],
    ['{"errors":7}', ""],
  ])("of %s", (body, expected) => {
    expect(readDiagnostics(body)).toBe(expected);
  });
});

import { describe, expect, test } from "bun:test";
import { mirrorOf, securityMirrorOf } from "../../../scripts/lib/apt.ts";

describe("mirrorOf()", () => {
  test.each([
    ["deb http://deb.debian.org/debian bookworm main\n", "http://deb.debian.org/debian"],
    [
      "# deb http://old/debian x main\ndeb [signed-by=/a b=c] https://m.example/debian/ sid main",
      "https://m.example/debian",
    ],
    ["Types: deb\n# http://x/debian\nURIs: http://m.example/debian\n", "http://m.example/debian"],
  ])("reads both formats: %j", (sources, mirror) => {
    expect(mirrorOf(sources)).toBe(mirror);
  });

  test("takes no other archive for Debian's", () => {
    expect(mirrorOf("deb https://download.docker.com/linux/other bookworm stable\n")).toBe(
      undefined,
    );
    expect(mirrorOf("URIs: http://deb.debian.org/debian-security\n")).toBe(undefined);
  });
});

describe("securityMirrorOf()", () => {
  test("finds the archive of security updates beside the other", () => {
    const sources = [
      "deb http://m.example/debian bookworm main",
      "deb http://m.example/debian-security/ bookworm-security main",
    ];
    expect(securityMirrorOf(sources.join("\n"))).toBe("http://m.example/debian-security");
    expect(securityMirrorOf(sources[0] ?? "")).toBe(undefined);
  });
});

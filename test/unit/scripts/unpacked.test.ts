import { describe, expect, test } from "bun:test";
import { asUnpacked } from "../../../scripts/compare/unpacked.ts";
import type { FileFacts } from "../../support/image/model.ts";

const startNs = 1_800_000_000_000_000_000n;

function facts(mtimeNs: bigint, xattrs: FileFacts["xattrs"] = {}): FileFacts {
  return { type: "file", mode: "0644", owner: "0:0", mtimeNs, xattrs, content: "" };
}

describe("asUnpacked()", () => {
  test("forgets of our tree what containerd's differ forgets", () => {
    const ours = new Map([
      ["old", facts(-1n, { "trusted.note": "00", "user.note": "01" })],
      ["far", facts(2n ** 63n)],
      ["dated", facts(5n)],
    ]);
    const containerds = new Map([["dated", facts(6n)]]);
    expect([...asUnpacked(ours, containerds, startNs)]).toEqual([
      ["old", facts(0n, { "user.note": "01" })],
      ["far", facts(0n)],
      ["dated", facts(5n)],
    ]);
  });

  test("takes over the time of what was dated by the unpacking", () => {
    const containerds = new Map([["folder", facts(startNs + 1n)]]);
    const ours = asUnpacked(new Map([["folder", facts(5n)]]), containerds, startNs);
    expect(ours.get("folder")?.mtimeNs).toBe(startNs + 1n);
  });
});

import { describe, expect, test } from "bun:test";
import { parseHelp } from "../../../src/mkfs/tool.ts";

describe("parseHelp()", () => {
  test("reads what Debian 12's 1.5 says, which knows no tar", () => {
    const help = "usage: [options] FILE DIRECTORY\n\nmkfs.erofs 1.5\n --quiet  quiet execution\n";
    expect(parseHelp(help)).toEqual({ version: "1.5", readsTar: false, hasBlockSize: false });
  });

  test("reads what 1.9 says", () => {
    const help =
      "mkfs.erofs (erofs-utils) 1.9.4\navailable compressors: lz4, lz4hc\n" +
      " -b#                   set block size\n" +
      " --tar=X                generate a full or index-only image from a tarball\n";
    expect(parseHelp(help)).toEqual({ version: "1.9.4", readsTar: true, hasBlockSize: true });
  });

  test("expects nothing of a program that says nothing", () => {
    expect(parseHelp("")).toEqual({ version: "", readsTar: false, hasBlockSize: false });
  });
});

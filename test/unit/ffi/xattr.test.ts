import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFlag } from "../../../ffi/constants.ts";
import { close, open } from "../../../ffi/file.ts";
import { getXattr, listXattrs, setXattr } from "../../../ffi/xattr.ts";
import { byteStringOfText } from "../../../src/util/byte-string.ts";

const file = byteStringOfText("file");
let root = "";
let rootFd = -1;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dedup-xattr-"));
  rootFd = open(root, openFlag.readOnly | openFlag.directory);
  writeFileSync(`${root}/file`, "");
});

afterEach(() => {
  close(rootFd);
  rmSync(root, { recursive: true, force: true });
});

describe("listXattrs()", () => {
  test("returns binary values, sorted by name", () => {
    const binary = new Uint8Array([0, 255, 10, 0, 128]);
    setXattr(rootFd, file, "user.z", binary);
    setXattr(rootFd, file, "trusted.overlay.opaque", Buffer.from("y"));
    setXattr(rootFd, file, "user.empty", new Uint8Array());
    expect(listXattrs(rootFd, file)).toEqual([
      { name: byteStringOfText("trusted.overlay.opaque"), value: Buffer.from("y") },
      { name: byteStringOfText("user.empty"), value: Buffer.alloc(0) },
      { name: byteStringOfText("user.z"), value: Buffer.from(binary) },
    ]);
  });

  test("is empty for a file without any", () => {
    expect(listXattrs(rootFd, file)).toEqual([]);
  });

  test("reads a list and a value beyond the first buffer's size", () => {
    const long = new Uint8Array(1500).fill(7);
    setXattr(rootFd, file, "user.long", long);
    for (let index = 0; index < 10; index++)
      setXattr(rootFd, file, `user.${"n".repeat(150)}${index}`, new Uint8Array([index]));
    const entries = listXattrs(rootFd, file);
    expect(entries.length).toBe(11);
    expect(entries[0]).toEqual({ name: byteStringOfText("user.long"), value: Buffer.from(long) });
  });

  test("reads the symlink, not what it points to", () => {
    setXattr(rootFd, file, "trusted.of", Buffer.from("file"));
    symlinkSync("file", `${root}/link`);
    expect(listXattrs(rootFd, byteStringOfText("link"))).toEqual([]);
  });

  test("is empty where the file system has none", () => {
    const procFd = open("/proc", openFlag.readOnly | openFlag.directory);
    expect(listXattrs(procFd, byteStringOfText("version"))).toEqual([]);
    close(procFd);
  });

  test("fails for a missing file", () => {
    expect(() => listXattrs(rootFd, byteStringOfText("x"))).toThrow("ENOENT");
  });
});

describe("getXattr()", () => {
  test("is undefined for an attribute that is not there", () => {
    setXattr(rootFd, file, "user.a", Buffer.from("1"));
    expect(getXattr(rootFd, file, "user.a")).toEqual(Buffer.from("1"));
    expect(getXattr(rootFd, file, "user.b")).toBeUndefined();
  });
});

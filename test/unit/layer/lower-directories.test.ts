/** Needs root: whiteouts are device nodes, opaque directories carry a trusted attribute. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { openFlag } from "../../../ffi/constants.ts";
import { close, open } from "../../../ffi/file.ts";
import { makeNodeAt } from "../../../ffi/node.ts";
import { setXattr } from "../../../ffi/xattr.ts";
import { scratchFolder, type ScratchFolder } from "../../../scripts/lib/temp.ts";
import { fileType } from "../../../src/erofs/tree.ts";
import { LowerDirectories } from "../../../src/layer/lower-directories.ts";
import { byteStringOfText, type ByteString } from "../../../src/util/byte-string.ts";

let scratch: ScratchFolder;
let layers: string[];

beforeEach(() => {
  scratch = scratchFolder("unit");
  layers = ["top", "middle", "bottom"].map((name) => join(scratch.path, name));
  for (const layer of layers) mkdirSync(layer);
});

afterEach(() => scratch[Symbol.dispose]());

function layerFolder(name: "top" | "middle" | "bottom"): string {
  return join(scratch.path, name);
}

function inFolder(path: string, use: (fd: number) => void): void {
  const fd = open(path, openFlag.readOnly | openFlag.directory);
  try {
    use(fd);
  } finally {
    close(fd);
  }
}

function whiteout(folder: string, name: string): void {
  inFolder(folder, (fd) => {
    makeNodeAt(fd, byteStringOfText(name), fileType.characterDevice);
  });
}

function makeOpaque(folder: string): void {
  inFolder(folder, (fd) => {
    setXattr(fd, "." as ByteString, "trusted.overlay.opaque", Buffer.from("y"));
  });
}

function find(path: string) {
  using lower = new LowerDirectories(layers);
  return lower.find(byteStringOfText(path));
}

function openFiles(): number {
  return readdirSync("/proc/self/fd").length;
}

async function contentOf(path: string): Promise<string | undefined> {
  using lower = new LowerDirectories(layers);
  const entry = lower.find(byteStringOfText(path));
  if (entry?.type !== "file") return undefined;
  const target = Buffer.alloc(entry.sizeBytes);
  await entry.content.read(target, 0);
  return target.toString();
}

describe("LowerDirectories", () => {
  test("shows the nearest file of a name, with all its attributes", async () => {
    for (const name of ["bottom", "middle"] as const) {
      mkdirSync(join(layerFolder(name), "folder"));
      writeFileSync(join(layerFolder(name), "folder", "file"), `of ${name}`);
    }
    chmodSync(join(layerFolder("middle"), "folder", "file"), 0o4750);
    lutimesSync(join(layerFolder("middle"), "folder", "file"), 5, 1_234_567_890);
    inFolder(join(layerFolder("middle"), "folder"), (fd) => {
      setXattr(fd, byteStringOfText("file"), "user.note", Buffer.from("1"));
    });
    expect(find("folder/file")).toMatchObject({
      type: "file",
      mode: fileType.regular | 0o4750,
      uid: 0,
      gid: 0,
      mtimeSeconds: 1_234_567_890,
      sizeBytes: 9,
      xattrs: [{ name: byteStringOfText("user.note") }],
    });
    expect(await contentOf("folder/file")).toBe("of middle");
  });

  test("merges directories, whose attributes are those of the nearest", async () => {
    for (const name of ["top", "bottom"] as const) mkdirSync(join(layerFolder(name), "folder"));
    chmodSync(join(layerFolder("top"), "folder"), 0o700);
    writeFileSync(join(layerFolder("bottom"), "folder", "file"), "below");
    expect(find("folder")).toMatchObject({ type: "directory", mode: fileType.directory | 0o700 });
    expect(await contentOf("folder/file")).toBe("below");
    expect(find("")).toMatchObject({ type: "directory" });
    expect(find("folder/none")).toBeUndefined();
    expect(find("none/file")).toBeUndefined();
    expect(find("folder/file/below-a-file")).toBeUndefined();
  });

  test("does not show what a layer between deletes, hides or replaces", async () => {
    for (const folder of ["gone", "opaque", "file"]) {
      mkdirSync(join(layerFolder("bottom"), folder));
      writeFileSync(join(layerFolder("bottom"), folder, "below"), "below");
    }
    whiteout(layerFolder("middle"), "gone");
    mkdirSync(join(layerFolder("middle"), "opaque"));
    makeOpaque(join(layerFolder("middle"), "opaque"));
    writeFileSync(join(layerFolder("middle"), "opaque", "own"), "own");
    writeFileSync(join(layerFolder("middle"), "file"), "no directory");
    mkdirSync(join(layerFolder("top"), "file"));
    for (const path of ["gone", "gone/below", "opaque/below", "file/below"]) {
      expect(find(path)).toBeUndefined();
    }
    expect(await contentOf("opaque/own")).toBe("own");
    expect(find("opaque")?.xattrs).toEqual([]);
    expect(find("file")?.type).toBe("directory");
  });

  test("follows no symlinks", () => {
    symlinkSync("/etc", join(layerFolder("top"), "link"));
    expect(find("link")).toMatchObject({ type: "symlink", target: byteStringOfText("/etc") });
    expect(find("link/passwd")).toBeUndefined();
  });

  test("shows devices with their numbers", () => {
    inFolder(layerFolder("bottom"), (fd) => {
      const mode = fileType.characterDevice | 0o600;
      makeNodeAt(fd, byteStringOfText("null"), mode, 1, 3);
    });
    expect(find("null")).toMatchObject({ type: "special", deviceMajor: 1, deviceMinor: 3 });
  });

  test("knows the holes of a file", () => {
    const file = join(layerFolder("bottom"), "sparse");
    writeFileSync(file, "start");
    truncateSync(file, 1_000_000);
    using lower = new LowerDirectories(layers);
    const entry = lower.find(byteStringOfText("sparse"));
    if (entry?.type !== "file") throw new Error("the file was not found");
    expect(entry.content.nextData(0)).toBe(0);
    expect(entry.content.nextData(500_000)).toBeUndefined();
    expect(() => entry.content.read(Buffer.alloc(10), 999_995)).toThrow("cannot be read");
  });

  test("leaves no file open", () => {
    mkdirSync(join(layerFolder("bottom"), "a", "b", "c"), { recursive: true });
    writeFileSync(join(layerFolder("bottom"), "a", "b", "file"), "");
    const before = openFiles();
    for (const path of ["a/b/c", "a/b/file", "a/b/file/x", "a/none", ""]) find(path);
    expect(openFiles()).toBe(before);
  });
});

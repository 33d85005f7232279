import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { walkImage } from "../../../src/erofs/read.ts";
import { holeChunk, type Xattr } from "../../../src/erofs/tree.ts";
import { byteStringOfText } from "../../../src/util/byte-string.ts";
import { GiB, KiB, MiB } from "../../../src/util/bytes.ts";
import {
  chunkedFile,
  directory,
  inlineFile,
  randomTree,
  special,
  symlink,
  xattr,
} from "./make-tree.ts";
import {
  factsOfImage,
  factsOfTree,
  imageOf,
  noDevices,
  openBytes,
  packStart,
  twoPacks as options,
} from "./tree-facts.ts";
import type { Directory } from "../../support/tree-objects.ts";

/** One of each, with every layout, for the digest that must never change. */
function sampleTree(): Directory {
  const label = [xattr("security.selinux", "system_u:object_r:usr_t:s0")];
  const shared = inlineFile("two names");
  return directory({
    bin: directory({ sh: chunkedFile(100_000, 32 * KiB, [5, 6, 7, 8]), again: shared }),
    etc: directory(
      { passwd: inlineFile("root:x:0:0\n", { uid: 70_000 }), link: shared },
      { xattrs: label },
    ),
    dev: directory({
      null: special("characterDevice", 1, 3),
      pipe: special("fifo"),
      disk: special("blockDevice", 259, 70_000),
    }),
    old: inlineFile("x".repeat(5000), { mtimeSeconds: -1, mtimeNanoseconds: 999_999_999 }),
    scattered: chunkedFile(70_000, 32 * KiB, [9, holeChunk, 1]),
    hole: chunkedFile(5 * GiB, 4 * MiB, new Int32Array(1280).fill(holeChunk)),
    lib: symlink("usr/lib", { xattrs: label }),
    gone: special("characterDevice", 0, 0),
    acl: inlineFile("", { xattrs: [xattr("system.posix_acl_access", "0123"), ...label] }),
  });
}

function newList(): Xattr[] {
  return [xattr("user.label", "the same in all of them")];
}

function uuidOf(content: string): Uint8Array {
  return openBytes(imageOf(directory({ f: inlineFile(content) }), noDevices)).superblock.uuid;
}

describe("emitImage()", () => {
  test("writes for a fixed tree the bytes that it always wrote", () => {
    const digest = createHash("sha256").update(imageOf(sampleTree(), options)).digest("hex");
    expect(digest).toBe("e17f6b71af8b90b2800fabf343c57f045e5958d3c2f54843c2110d7b88b8baca");
  });

  test.each([1, 2, 3, 4, 5, 6])("writes what the reader reads: random tree %d", (seed) => {
    const root = randomTree(seed, 1500);
    const image = openBytes(imageOf(root, options));
    expect(factsOfImage(image)).toEqual(factsOfTree(root, options.blockOf));
    const withDevices = openBytes(imageOf(root, { ...options, namesDevices: true }));
    expect(factsOfImage(withDevices)).toEqual(factsOfTree(root, options.blockOf));
  });

  test("does not depend on the order of insertion", () => {
    const root = randomTree(7, 800);
    const pending = [root];
    const expected = imageOf(root, options);
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const entries = [...next.entries].reverse();
      next.entries.clear();
      for (const [name, child] of entries) {
        next.entries.set(name, child);
        if (child.type === "directory") pending.push(child);
      }
    }
    expect(imageOf(root, options).equals(expected)).toBe(true);
  });

  test("does not depend on which equal xattr lists are one object", () => {
    const one = newList();
    const shared = directory({
      a: inlineFile("", { xattrs: one }),
      b: inlineFile("", { xattrs: one }),
    });
    const apart = directory({
      a: inlineFile("", { xattrs: newList() }),
      b: inlineFile("", { xattrs: newList() }),
    });
    expect(imageOf(shared, noDevices).equals(imageOf(apart, noDevices))).toBe(true);
  });

  test("gives the image another UUID when one byte of content differs", () => {
    expect(uuidOf("a")).not.toEqual(uuidOf("b"));
    expect(uuidOf("a")).toEqual(uuidOf("a"));
  });

  test("writes an empty tree", () => {
    const root = directory();
    const image = openBytes(imageOf(root, noDevices));
    expect(factsOfImage(image)).toEqual(factsOfTree(root, () => 0));
    expect(image.superblock.featureIncompat).toBe(0);
  });

  test("writes a tree of thousands of levels", () => {
    let root = directory({ bottom: inlineFile("deep") });
    for (let level = 0; level < 5000; level++) root = directory({ d: root });
    const walked = [...walkImage(openBytes(imageOf(root, noDevices)))];
    expect(walked).toHaveLength(5002);
    expect(walked.at(-1)!.path).toBe(byteStringOfText(`${"/d".repeat(5000)}/bottom`));
  });

  test("writes a directory of 100,000 names", () => {
    const root = directory();
    for (let at = 0; at < 100_000; at++) {
      root.entries.set(byteStringOfText(`name-${at}`), inlineFile(""));
    }
    const names = [...root.entries.keys()].sort().map((name) => `/${name}`);
    const walked = [...walkImage(openBytes(imageOf(root, noDevices)))].map(({ path }) => path);
    expect(walked.slice(1) as string[]).toEqual(names);
  });

  test("writes a device table of several blocks", () => {
    const devices = Array.from({ length: 300 }, (_, at) => ({
      tag: `pack-${at}`,
      blocks: 100,
      uniaddr: packStart + at * 100,
    }));
    const image = openBytes(imageOf(directory(), { devices, blockOf: () => 0 }));
    expect(image.devices).toEqual(devices);
  });
});

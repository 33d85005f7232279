import { describe, expect, test } from "bun:test";
import { dataLayout } from "../../../src/erofs/format.ts";
import { extentsOf, type ImageInode, walkImage } from "../../../src/erofs/read.ts";
import { holeChunk, type RegularFile } from "../../../src/erofs/tree.ts";
import { type Device, type ImagePlan, planImage } from "../../../src/erofs/write.ts";
import { byteStringOfText } from "../../../src/util/byte-string.ts";
import { GiB, KiB, MiB } from "../../../src/util/bytes.ts";
import { chunkedFile, directory, inlineFile, special, symlink, xattr } from "./make-tree.ts";
import {
  factsOfImage,
  factsOfTree,
  imageOf,
  noDevices,
  openBytes,
  packBlocks,
  packStart,
  twoPacks as options,
} from "./tree-facts.ts";
import { type Directory, toFileTree } from "../../support/tree-objects.ts";

/** The inode of a path in the image of a tree. */
function planned(root: Directory, path = "/f"): ImageInode {
  const walked = [...walkImage(openBytes(imageOf(root, options)))];
  return walked.find((entry) => entry.path === byteStringOfText(path))!.inode;
}

/** The size of an image of a thousand files, each with an xattr of 100 bytes. */
function labelledImageBytes(value: (at: number) => string): number {
  const root = directory();
  for (let at = 0; at < 1000; at++) {
    const xattrs = [xattr("user.note", value(at).padEnd(100))];
    root.entries.set(byteStringOfText(`f${at}`), inlineFile("", { xattrs }));
  }
  return imageOf(root, noDevices).length;
}

function device(uniaddr: number, blocks: number): Device {
  return { tag: `at ${uniaddr}`, blocks, uniaddr };
}

function planWith(...devices: Device[]): ImagePlan {
  return planImage(toFileTree(directory()), { devices, blockOf: () => 0 });
}

function withXattr(name: string, value: string | Uint8Array): RegularFile {
  return inlineFile("", { xattrs: [xattr(name, value)] });
}

describe("planImage()", () => {
  test("addresses a file whose chunks lie in a row without an index", () => {
    const inode = planned(directory({ f: chunkedFile(90_000, 32 * KiB, [3, 4, 5]) }));
    expect(inode).toMatchObject({ layout: dataLayout.flatPlain, union: options.blockOf(3) });
  });

  test("names the device of every file where it shall, of a run by a single chunk", () => {
    const named = { ...options, namesDevices: true };
    const chunks = [packBlocks / 8 + 3, packBlocks / 8 + 4, packBlocks / 8 + 5];
    const root = directory({ f: chunkedFile(90_000, 32 * KiB, chunks) });
    const image = imageOf(root, named);
    const { inode } = [...walkImage(openBytes(image))].find(({ path }) => path === "/f")!;
    expect(inode).toMatchObject({ layout: dataLayout.chunkBased, union: 0x20 | 5 });
    const map = image.subarray(inode.xattrOffsetBytes);
    expect([map.readUInt16LE(2), map.readUInt32LE(4)]).toEqual([2, 24]);
    image.writeUInt16LE(3, inode.xattrOffsetBytes + 2);
    expect(() => [...extentsOf(openBytes(image), inode)]).toThrow("there is no device 3");
  });

  test("does not take a run that goes from one device into the next for one", () => {
    const last = packBlocks / 8 - 1;
    const inode = planned(directory({ f: chunkedFile(64 * KiB, 32 * KiB, [last, last + 1]) }));
    expect(inode.layout).toBe(dataLayout.chunkBased);
  });

  test("keeps the map of a file that is all hole small, however large the file", () => {
    const sizeBytes = 2 ** 50;
    const chunks = new Int32Array(sizeBytes / 2 ** 40).fill(holeChunk);
    const root = directory({ f: chunkedFile(sizeBytes, 2 ** 40, chunks) });
    expect(imageOf(root, options).length).toBeLessThan(16 * KiB);
    expect(planned(root).union).toBe(31);
  });

  test("stores an inode in 32 bytes where everything fits", () => {
    expect(planned(directory({ f: inlineFile("") })).isExtended).toBe(false);
    expect(planned(directory({ f: inlineFile("", { uid: 65_536 }) })).isExtended).toBe(true);
    expect(planned(directory({ f: inlineFile("", { gid: 65_536 }) })).isExtended).toBe(true);
    expect(planned(directory({ f: inlineFile("", { mtimeSeconds: 1 }) })).isExtended).toBe(true);
    const large = chunkedFile(4 * GiB, 4 * GiB, holeChunk);
    expect(planned(directory({ f: large })).isExtended).toBe(true);
  });

  test("takes the most frequent time for that of the superblock", () => {
    const at = { mtimeSeconds: 7, mtimeNanoseconds: 8 };
    const root = directory({ a: inlineFile("", at), b: inlineFile("", at) });
    expect(planImage(toFileTree(root), noDevices).epoch).toEqual({ seconds: 7, nanoseconds: 8 });
  });

  test("stores an xattr that many files have once", () => {
    expect(labelledImageBytes(() => "same")).toBeLessThan(labelledImageBytes(String) - 80_000);
  });

  test("counts the links of files and directories", () => {
    const file = inlineFile("");
    const root = directory({ a: file, b: file, d: directory({ c: file, e: directory() }) });
    expect(planned(root, "/a").linkCount).toBe(3);
    expect(planned(root, "/d").linkCount).toBe(3);
    expect(planned(root, "/d/e").linkCount).toBe(2);
  });

  test.each([4095 - 32, 4096 - 32, 4096 - 31, 4095, 4096, 4097, 8192, 3 * MiB])(
    "stores %d bytes of content in the image",
    (sizeBytes) => {
      const root = directory({ f: inlineFile(Buffer.alloc(sizeBytes, 3)), g: symlink("x") });
      const image = openBytes(imageOf(root, noDevices));
      expect(factsOfImage(image)).toEqual(factsOfTree(root, () => 0));
    },
  );

  test.each([
    ["a name with a slash", () => directory({ "a/b": inlineFile("") })],
    ["a name with NUL", () => directory({ "a\0b": inlineFile("") })],
    ["an empty name", () => directory({ "": inlineFile("") })],
    ["the name .", () => directory({ ".": inlineFile("") })],
    ["the name ..", () => directory({ "..": inlineFile("") })],
    ["a name of 256 bytes", () => directory({ ["n".repeat(256)]: inlineFile("") })],
    ["an empty symlink", () => directory({ f: symlink("") })],
    ["a symlink of 4096 bytes", () => directory({ f: symlink("t".repeat(4096)) })],
    ["a uid of 33 bits", () => directory({ f: inlineFile("", { uid: 2 ** 32 }) })],
    ["a second of 10^9 ns", () => directory({ f: inlineFile("", { mtimeNanoseconds: 1e9 }) })],
    ["a time that is no number", () => directory({ f: inlineFile("", { mtimeSeconds: NaN }) })],
    ["a file with a directory's mode", () => directory({ f: inlineFile("", { mode: 0o40755 }) })],
    ["a major of 13 bits", () => directory({ f: special("blockDevice", 4096, 0) })],
    ["a minor of 21 bits", () => directory({ f: special("blockDevice", 0, 2 ** 20) })],
    ["an xattr with an empty name", () => directory({ f: withXattr("user.", "") })],
    [
      "an xattr name of 256 bytes",
      () => directory({ f: withXattr(`user.${"n".repeat(251)}`, "") }),
    ],
    [
      "one directory under two names",
      () => {
        const twice = directory();
        return directory({ f: twice, g: twice });
      },
    ],
  ])("refuses %s as invalid", (_, make) => {
    expect(() => planImage(toFileTree(make()), noDevices)).toThrow(
      expect.objectContaining({ code: "invalid_argument" }),
    );
  });

  test("accepts names, xattr names and device numbers at their limits", () => {
    const root = directory({
      ["n".repeat(255)]: withXattr(`user.${"n".repeat(250)}`, Buffer.alloc(65_535, 1)),
      f: special("blockDevice", 4095, 2 ** 20 - 1),
      g: inlineFile("", { uid: 2 ** 32 - 1, mtimeSeconds: Number.MIN_SAFE_INTEGER }),
    });
    const image = openBytes(imageOf(root, noDevices));
    expect(factsOfImage(image)).toEqual(factsOfTree(root, () => 0));
  });

  test.each([
    ["an xattr with a prefix unknown to EROFS", [xattr("system.nfs4_acl", "")]],
    ["an xattr value of 64 KiB", [xattr("user.a", Buffer.alloc(65_536))]],
    [
      "xattrs of more than 256 KiB in all",
      ["a", "b", "c", "d", "e"].map((name) => xattr(`user.${name}`, Buffer.alloc(65_000))),
    ],
  ])("refuses %s as unimplemented and names the file", (_, xattrs) => {
    const root = directory({ etc: directory({ file: inlineFile("", { xattrs }) }) });
    expect(() => planImage(toFileTree(root), noDevices)).toThrow(
      expect.objectContaining({
        code: "unimplemented",
        message: expect.stringContaining('"/etc/file"'),
      }),
    );
  });

  test("refuses devices that overlap, or end beyond 32 bits", () => {
    expect(() => planWith(device(100, 10), device(109, 10))).toThrow("overlaps");
    expect(() => planWith(device(2 ** 32 - 10, 10))).toThrow("10 blocks");
    expect(() => planWith(device(100, 10), device(110, 10))).not.toThrow();
  });

  test("refuses metadata that reaches into the range of a device", () => {
    const devices = [{ tag: "pack", blocks: 10, uniaddr: 2 }];
    const root = directory({ f: inlineFile(Buffer.alloc(8192)) });
    expect(() => planImage(toFileTree(root), { devices, blockOf: () => 0 })).toThrow(
      expect.objectContaining({ code: "unimplemented" }),
    );
  });

  test("stops at a chunk that lies in no device", () => {
    const root = directory({ f: chunkedFile(4096, 4096, 3) });
    const beyond = packStart + 2 * packBlocks;
    expect(() => planImage(toFileTree(root), { ...options, blockOf: () => beyond })).toThrow(
      "no device",
    );
    expect(() => planImage(toFileTree(root), { ...options, blockOf: () => 3 })).toThrow(
      "no device",
    );
    const long = directory({ f: chunkedFile(8192, 8192, 3) });
    expect(() => planImage(toFileTree(long), { ...options, blockOf: () => beyond - 1 })).toThrow(
      "no device",
    );
  });
});

/**
 * Building, publishing and deleting layers on a real file system, without a daemon around it.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { openFlag } from "../../ffi/constants.ts";
import { close, open } from "../../ffi/file.ts";
import { setXattr } from "../../ffi/xattr.ts";
import { buildFromDirectory, publish, type BuildEnvironment } from "../../src/layer/build.ts";
import { allLayerIds, openIndex } from "../../src/store/index-database.ts";
import { firstBlockOfPack, packOffsetBytes } from "../../src/store/layout.ts";
import { PackAllocator } from "../../src/store/pack-allocator.ts";
import { imagePath, packPath, storePaths } from "../../src/store/paths.ts";
import { deleteLayers, findLeftovers, removeLeftovers } from "../../src/store/reclaim.ts";
import { removeTree } from "../../src/store/remove-tree.ts";
import { byteStringOfText } from "../../src/util/byte-string.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { type Directory, fromFileTree, type Inode } from "../support/tree-objects.ts";

const chunkBytes = 64 * 1024;

let folder: ScratchFolder;
let environment: BuildEnvironment;

beforeEach(async () => {
  folder = scratchFolder("unit");
  const paths = storePaths(join(folder.path, "root"));
  mkdirSync(paths.images, { recursive: true });
  const allocator = new PackAllocator(paths);
  await allocator.load(() => undefined);
  const reservation = allocator.begin();
  const reserve = (count: number) => allocator.reserve(reservation, count);
  environment = { database: openIndex(paths.indexDatabase), paths, chunkBytes, reserve };
});

afterEach(() => {
  environment.database.close();
  folder[Symbol.dispose]();
});

function makeDirectory(name: string, files: Record<string, string | Uint8Array>): string {
  const path = join(folder.path, name);
  mkdirSync(path, { recursive: true });
  for (const [file, bytes] of Object.entries(files)) writeFileSync(join(path, file), bytes);
  return path;
}

/** Content that repeats nowhere, so that no two chunks are equal by accident. */
function content(seed: number, sizeBytes: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < sizeBytes; at += 32) {
    parts.push(createHash("sha256").update(`${seed} ${at}`).digest());
  }
  return Buffer.concat(parts).subarray(0, sizeBytes);
}

/** Sets an xattr to "y". */
function mark(directory: string, name: string, xattr: string): void {
  const fd = open(directory, openFlag.readOnly);
  setXattr(fd, byteStringOfText(name), xattr, Buffer.from("y"));
  close(fd);
}

function packUsage(): number {
  const { packs } = environment.paths;
  let bytes = 0;
  for (const name of readdirSync(packs)) bytes += statSync(join(packs, name)).blocks * 512;
  return bytes;
}

function entry(directory: Directory, name: string): Inode {
  const inode = directory.entries.get(byteStringOfText(name));
  if (inode === undefined) throw new Error(`no entry ${name}`);
  return inode;
}

describe("a layer", () => {
  test("stores content once that another layer has", async () => {
    const shared = content(1, 300_000);
    const first = makeDirectory("first", { shared, own: content(2, 100_000) });
    const second = makeDirectory("second", { shared, other: content(3, 5_000) });
    publish(environment, await buildFromDirectory(environment, first));
    const before = packUsage();
    const published = publish(environment, await buildFromDirectory(environment, second));
    expect(packUsage() - before).toBe(8192);
    expect(published.addedBytes).toBe(
      8192 + statSync(imagePath(environment.paths, 2)).blocks * 512,
    );
  });

  test("that is identical to another one is the same layer", async () => {
    const directory = makeDirectory("same", { file: content(1, 100_000) });
    const first = publish(environment, await buildFromDirectory(environment, directory));
    const second = publish(environment, await buildFromDirectory(environment, directory));
    expect([first.reused, second.reused]).toEqual([false, true]);
    expect(second.layerId).toBe(first.layerId);
    expect(readdirSync(environment.paths.images)).toEqual(["1.erofs"]);
  });

  test("gives back all of its space, and no block another layer reads", async () => {
    const shared = content(1, 300_000);
    const first = makeDirectory("first", { shared, own: content(2, 200_000) });
    const second = makeDirectory("second", { shared });
    const { layerId } = publish(environment, await buildFromDirectory(environment, first));
    publish(environment, await buildFromDirectory(environment, second));
    deleteLayers(environment.database, environment.paths, [layerId]);
    expect(packUsage()).toBe(Math.ceil(300_000 / 4096) * 4096);
    expect(allLayerIds(environment.database)).toEqual([2]);
    deleteLayers(environment.database, environment.paths, [2]);
    expect(packUsage()).toBe(0);
    expect(readdirSync(environment.paths.images)).toEqual([]);
  });

  test("built beside one with the same content keeps only the copy published first", async () => {
    const directory = makeDirectory("one", { file: content(1, 200_000), name: "one" });
    const twin = makeDirectory("two", { file: content(1, 200_000), name: "two" });
    const left = await buildFromDirectory(environment, directory);
    const right = await buildFromDirectory(environment, twin);
    expect(publish(environment, left).unneededChunks).toBe(0);
    expect(publish(environment, right).unneededChunks).toBe(4);
    const { database, paths } = environment;
    removeLeftovers(paths, findLeftovers(database, paths));
    expect(packUsage()).toBe(Math.ceil(200_000 / 4096) * 4096);
  });

  test("is refused when content it found was deleted, and can be built again", async () => {
    const directory = makeDirectory("one", { file: content(1, 100_000) });
    const twin = makeDirectory("two", { file: content(1, 100_000), more: "more" });
    const { layerId } = publish(environment, await buildFromDirectory(environment, directory));
    const built = await buildFromDirectory(environment, twin);
    deleteLayers(environment.database, environment.paths, [layerId]);
    expect(() => publish(environment, built)).toThrow("deleted while the layer was built");
    const again = publish(environment, await buildFromDirectory(environment, twin));
    expect(existsSync(imagePath(environment.paths, again.layerId))).toBe(true);
  });

  test("leaves nothing that the sweep after a crash would not find", async () => {
    const { database, paths } = environment;
    const directory = makeDirectory("one", { file: content(1, 100_000) });
    const keptDirectory = makeDirectory("kept", { file: content(2, 100_000) });
    publish(environment, await buildFromDirectory(environment, keptDirectory));
    const before = packUsage();
    await buildFromDirectory(environment, directory);
    writeFileSync(join(paths.images, "new-half"), "half an image");
    writeFileSync(imagePath(paths, 77), "renamed, but not entered");
    expect(packUsage()).toBeGreaterThan(before);
    const leftovers = findLeftovers(database, paths);
    expect(leftovers.files.length).toBe(2);
    removeLeftovers(paths, leftovers);
    expect(packUsage()).toBe(before);
    expect(readdirSync(paths.images)).toEqual(["1.erofs"]);
    expect(findLeftovers(database, paths)).toEqual({ files: [], ranges: [] });
  });
});

describe("buildFromDirectory()", () => {
  test("keeps holes, hard links, symlinks and small content in the metadata", async () => {
    const directory = makeDirectory("tree", { small: "small", big: content(1, 70_000) });
    linkSync(join(directory, "big"), join(directory, "link"));
    symlinkSync("big", join(directory, "symlink"));
    writeFileSync(join(directory, "sparse"), "");
    truncateSync(join(directory, "sparse"), 10 * chunkBytes + 5);
    const file = openSync(join(directory, "sparse"), "r+");
    writeSync(file, content(2, 100), 0, 100, 7 * chunkBytes);
    closeSync(file);
    const { tree, contentBytes } = await buildFromDirectory(environment, directory);
    const root = fromFileTree(tree);
    expect(entry(root, "big")).toBe(entry(root, "link"));
    expect(entry(root, "symlink")).toMatchObject({ type: "symlink", target: "big" });
    expect(entry(root, "small")).toMatchObject({ content: { kind: "inline" } });
    const sparse = entry(root, "sparse");
    const chunks = sparse.type === "file" && sparse.content.kind === "chunks" && sparse.content;
    expect(chunks && [...(chunks.chunks as Int32Array)].map((ref) => ref >= 0)).toEqual(
      Array.from({ length: 11 }, (_, index) => index === 7),
    );
    expect(contentBytes).toBe(5 + 70_000 + chunkBytes);
  });

  test("drops what overlayfs noted for itself, keeps what belongs to the layer", async () => {
    const directory = makeDirectory("tree", {});
    mkdirSync(join(directory, "sub"));
    for (const name of ["origin", "impure", "opaque"]) {
      mark(directory, "sub", `trusted.overlay.${name}`);
    }
    mark(directory, "sub", "user.own");
    const { tree } = await buildFromDirectory(environment, directory);
    const names = entry(fromFileTree(tree), "sub").xattrs.map((xattr) => String(xattr.name));
    expect(names).toEqual(["trusted.overlay.opaque", "user.own"]);
  });

  test("refuses a metadata-only copy-up by name", async () => {
    const directory = makeDirectory("tree", { copy: content(1, 10) });
    mark(directory, "copy", "trusted.overlay.metacopy");
    const build = buildFromDirectory(environment, directory);
    expect(build).rejects.toMatchObject({ code: "unimplemented" });
    expect(build).rejects.toThrow('"copy" is a metadata-only copy');
  });

  test("goes down two thousand levels", async () => {
    const directory = makeDirectory("deep", {});
    process.chdir(directory);
    try {
      for (let level = 0; level < 2_000; level++) {
        mkdirSync("d");
        process.chdir("d");
      }
      writeFileSync("bottom", content(9, 5_000));
    } finally {
      process.chdir("/");
    }
    const { contentBytes } = await buildFromDirectory(environment, directory);
    expect(contentBytes).toBe(5_000);
    removeTree(directory);
    expect(existsSync(directory)).toBe(false);
  });

  test("names the pack when it cannot be written", async () => {
    const directory = makeDirectory("tree", { file: content(1, 10_000) });
    const broken = { ...environment, reserve: async () => firstBlockOfPack(9) };
    expect(buildFromDirectory(broken, directory)).rejects.toThrow("9.pack");
    expect(existsSync(packPath(environment.paths, 9))).toBe(false);
    expect(packOffsetBytes(firstBlockOfPack(9))).toBe(0);
  });
});

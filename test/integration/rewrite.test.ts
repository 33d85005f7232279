/**
 * Layers that are built anew of what is stored: they show what they showed, and what is not needed
 * any more is given back. Without a daemon around it.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { closeSync, linkSync, openSync, symlinkSync, truncateSync, writeSync } from "node:fs";
import { existsSync, mkdirSync, readdirSync, readlinkSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { openFlag } from "../../ffi/constants.ts";
import { close, open } from "../../ffi/file.ts";
import { setXattr } from "../../ffi/xattr.ts";
import { runCommand } from "../../scripts/lib/process.ts";
import { compressionAlgorithm } from "../../src/erofs/compression.ts";
import type { ExtentCodec } from "../../src/erofs/extent-codec.ts";
import { AppError } from "../../src/errors.ts";
import { condemnBundles } from "../../src/store/compaction.ts";
import { blockOfPlace } from "../../src/store/layout.ts";
import { imagePath } from "../../src/store/paths.ts";
import { discardRanges } from "../../src/store/reclaim.ts";
import { layersToRecompress, layersWithStale, markStale } from "../../src/store/stale-chunks.ts";
import { byteStringOfText } from "../../src/util/byte-string.ts";
import { KiB, MiB } from "../../src/util/bytes.ts";
import { randomBytes } from "../support/random.ts";
import { rejection } from "../support/rejection.ts";
import { manyDense, text, variousFiles } from "../support/store-files.ts";
import { TestStore } from "../support/store.ts";
import { readTree } from "../support/tree.ts";

const chunkBytes = 512 * KiB;
const zstd: ExtentCodec = { algorithm: compressionAlgorithm.zstd, level: 3 };
const deflate: ExtentCodec = { algorithm: compressionAlgorithm.deflate, level: 6 };
const transitions: readonly (readonly [
  string,
  ExtentCodec | undefined,
  ExtentCodec | undefined,
])[] = [
  ["none to zstd", undefined, zstd],
  ["zstd to none", zstd, undefined],
  ["deflate to zstd", deflate, zstd],
  ["zstd to deflate", zstd, deflate],
  ["zstd to zstd", zstd, zstd],
];

let store: TestStore;

beforeEach(() => {
  store = new TestStore(chunkBytes);
});

afterEach(() => {
  store[Symbol.dispose]();
});

/** Files of all types, with every attribute. */
async function makeTree(): Promise<string> {
  const folder = store.makeFolder({ ...variousFiles(chunkBytes), linked: text(2000, 50_000) });
  mkdirSync(join(folder, "deep", "er", "still"), { recursive: true });
  linkSync(join(folder, "linked"), join(folder, "deep", "er", "link"));
  linkSync(join(folder, "linked"), join(folder, "another"));
  symlinkSync("../linked", join(folder, "deep", "symlink"));
  symlinkSync("x".repeat(4000), join(folder, "long-symlink"));
  const nodes = ["whiteout c 0 0", "null c 1 3", "big b 259 70000", "fifo p"];
  for (const node of nodes) {
    const [name = "", ...parameters] = node.split(" ");
    await runCommand(["mknod", join(folder, "deep", name), ...parameters]);
  }
  makeSparse(join(folder, "sparse"), 100 * chunkBytes + 5, [40, 70]);
  makeSparse(join(folder, "hole-only"), 7 * MiB + 1, []);
  makeSparse(join(folder, "hole-then-end"), 12 * chunkBytes + 100, [12]);
  const fd = open(folder, openFlag.readOnly | openFlag.directory);
  setXattr(fd, byteStringOfText("linked"), "user.note", Buffer.from([0, 1, 255]));
  setXattr(fd, byteStringOfText("deep"), "trusted.overlay.opaque", Buffer.from("y"));
  close(fd);
  await runCommand(["chown", "123:70000", join(folder, "one-extent")]);
  await runCommand(["chmod", "4751", join(folder, "one-extent")]);
  utimesSync(join(folder, "inline"), -5, -5);
  return folder;
}

/** A file of holes, with a hundred bytes at the start of these chunks. */
function makeSparse(path: string, sizeBytes: number, chunks: readonly number[]): void {
  const file = openSync(path, "w");
  truncateSync(path, sizeBytes);
  for (const chunk of chunks) writeSync(file, text(chunk, 100), 0, 100, chunk * chunkBytes);
  closeSync(file);
}

function inodesOf(layerId: number): number {
  const query = store.database.query<{ inodes: number }, [number]>(
    "SELECT inodes FROM layers WHERE id = ?",
  );
  return query.get(layerId)?.inodes ?? 0;
}

/** Of two layers the first is deleted, and with it most of what is in their bundles. */
async function addMostlyDead(): Promise<{ folder: string; layerId: number }> {
  const first = await store.add(store.makeFolder(manyDense(120)), zstd);
  const folder = store.makeFolder(manyDense(8));
  const { layerId } = await store.add(folder, zstd);
  store.delete(first.layerId);
  return { folder, layerId };
}

function isOpenPack(fd: string): boolean {
  const path = `/proc/self/fd/${fd}`;
  return existsSync(path) && readlinkSync(path).endsWith(".pack");
}

describe.skipIf(process.getuid?.() !== 0)("a layer that is built anew", () => {
  test.each(transitions)("from %s shows the same, and needs it only once", async (_, from, to) => {
    const folder = await makeTree();
    const { layerId } = await store.add(folder, from);
    const before = readTree(folder);
    expect(readTree(store.mount(layerId))).toEqual(before);
    const built = store.publish(await store.buildAgain(layerId, to, true));
    // With the old one still there, and mounted.
    expect(readTree(store.mount(built.layerId))).toEqual(before);
    expect(readTree(store.mount(layerId))).toEqual(before);
    expect(inodesOf(built.layerId)).toBe(inodesOf(layerId));
    store.unmountAll();
    if (built.layerId !== layerId) store.delete(layerId);
    expect(store.check()).toEqual([]);
    expect(layersToRecompress(store.database, to?.algorithm ?? 0)).toEqual([]);
    store.delete(built.layerId);
    expect(store.usage()).toBe(0);
  });

  test("takes about the space of one that was new", async () => {
    const folder = store.makeFolder(variousFiles(chunkBytes));
    const { layerId: fresh } = await store.add(folder, zstd);
    const expected = store.usage();
    store.delete(fresh);
    for (const from of [undefined, deflate]) {
      const { layerId } = await store.add(folder, from);
      const { layerId: rewritten } = await store.rewrite(layerId, zstd, true);
      // Holes that zeros became without compression stay holes, and their files raw.
      const rawBytes = from === undefined ? 600 * KiB : 0;
      expect(store.usage()).toBeLessThanOrEqual(expected + rawBytes);
      store.delete(rewritten);
    }
  });

  test("may have a large image, and content all over the pack", async () => {
    const inline = Array.from({ length: 3000 }, (_, at) => [`file-${at}`, `content ${at}`]);
    const files = { ...Object.fromEntries(inline), ...manyDense(200) };
    const folder = store.makeFolder(files);
    const { layerId } = await store.add(folder, deflate);
    const rewritten = await store.rewrite(layerId, zstd, true);
    expect(readTree(store.mount(rewritten.layerId))).toEqual(readTree(folder));
    expect(readdirSync("/proc/self/fd").filter(isOpenPack)).toEqual([]);
  });

  test("is the same layer where nothing is outdated", async () => {
    const { layerId } = await store.add(store.makeFolder(variousFiles(chunkBytes)), zstd);
    const usage = store.usage();
    expect(await store.rewrite(layerId, zstd, true)).toMatchObject({ layerId, reused: true });
    expect(store.usage()).toBe(usage);
  });

  test("leaves content that does not compress where it is, and does not try again", async () => {
    const files = { movie: randomBytes("movie", 3 * MiB), text: text(1, 700_000) };
    const { layerId } = await store.add(store.makeFolder(files), undefined);
    const movieBlocks = "SELECT place FROM chunks WHERE encoding = 0 ORDER BY place";
    const before = store.database.query<{ place: number }, []>(movieBlocks).all();
    expect(layersToRecompress(store.database, zstd.algorithm)).toHaveLength(1);
    await store.rewrite(layerId, zstd, true);
    const after = store.database.query<{ place: number }, []>(movieBlocks).all();
    expect(after).toEqual(before.slice(0, after.length));
    expect(after).toHaveLength(6);
    expect(layersToRecompress(store.database, zstd.algorithm)).toEqual([]);
    expect(store.check()).toEqual([]);
  });

  test("and whose content does not compress at all is only noted as tried", async () => {
    const { layerId } = await store.add(
      store.makeFolder({ movie: randomBytes("movie", 3 * MiB) }),
      undefined,
    );
    const usage = store.usage();
    expect((await store.rewrite(layerId, zstd, true)).layerId).toBe(layerId);
    expect(layersToRecompress(store.database, zstd.algorithm)).toEqual([]);
    expect(store.usage()).toBe(usage);
  });

  test("shares its new content with the others that had the old", async () => {
    const folders = ["one", "two", "three"].map((name) =>
      store.makeFolder({ ...variousFiles(chunkBytes), name, own: text(name.length, 90_000) }),
    );
    const old: number[] = [];
    for (const folder of folders) old.push((await store.add(folder, deflate)).layerId);
    const usage = store.usage();
    const rewritten: number[] = [];
    for (const layerId of old) rewritten.push((await store.rewrite(layerId, zstd, true)).layerId);
    expect(store.usage()).toBeLessThan(usage * 1.05);
    for (const [at, layerId] of rewritten.entries()) {
      expect(readTree(store.mount(layerId))).toEqual(readTree(folders[at]!));
    }
    expect(store.check()).toEqual([]);
  });

  test("names content that is damaged, and stays as it was", async () => {
    const { layerId } = await store.add(store.makeFolder({ large: text(1, 700_000) }), zstd);
    const row = store.database.query<{ place: number }, []>("SELECT place FROM chunks").get();
    discardRanges(store.paths, [{ block: blockOfPlace(row?.place ?? 0), count: 1 }]);
    const failure = await rejection(store.buildAgain(layerId, deflate, true));
    expect(failure).toMatchObject({ code: "data_loss" });
    store.sweep();
    expect(statSync(imagePath(store.paths, layerId)).size).toBeGreaterThan(0);
  });

  test("is not made of a damaged image", async () => {
    const { layerId } = await store.add(store.makeFolder(variousFiles(chunkBytes)), deflate);
    const file = openSync(imagePath(store.paths, layerId), "r+");
    writeSync(file, "x", 4096);
    closeSync(file);
    const failure = await rejection(store.buildAgain(layerId, zstd, true));
    expect(String(failure)).toContain("holds other bytes than were written");
  });

  test("can be given up at any time, and leaves nothing", async () => {
    const { layerId } = await store.add(store.makeFolder(variousFiles(chunkBytes)), deflate);
    const usage = store.usage();
    let left = 5;
    const pace = async () => {
      left -= 1;
      if (left === 0) throw new AppError("cancelled", "enough");
    };
    const failure = await rejection(store.buildAgain(layerId, zstd, true, pace));
    expect(failure).toMatchObject({ code: "cancelled" });
    store.sweep();
    expect(store.usage()).toBe(usage);
    expect(store.check()).toEqual([]);
  });

  test("tells of all that it reads and writes", async () => {
    const { layerId } = await store.add(store.makeFolder({ large: text(1, 3 * MiB) }), undefined);
    let bytes = 0;
    const pace = async (more: number) => void (bytes += more);
    const built = await store.buildAgain(layerId, deflate, true, pace);
    store.publish(built);
    expect(bytes).toBeGreaterThan(2 * MiB);
    expect(bytes).toBeLessThan(4 * MiB);
  });
});

describe.skipIf(process.getuid?.() !== 0)("condemnBundles()", () => {
  test("gives back what is dead in bundles, once their layers are built anew", async () => {
    const { folder, layerId } = await addMostlyDead();
    const usage = store.usage();
    const plan = condemnBundles(store.database, zstd.algorithm);
    expect(plan).toMatchObject({ layers: 1 });
    expect(plan.freedBytes).toBeGreaterThan(plan.writtenBytes);
    expect(layersWithStale(store.database)).toMatchObject([{ layer: layerId }]);
    const rewritten = await store.rewrite(layerId, zstd);
    expect(rewritten.layerId).not.toBe(layerId);
    expect(readTree(store.mount(rewritten.layerId))).toEqual(readTree(folder));
    expect(usage - store.usage()).toBeGreaterThanOrEqual(plan.writtenBytes);
    expect(store.check()).toEqual([]);
  });

  test("finds nothing more afterwards, and nothing where little is dead", async () => {
    const { layerId } = await addMostlyDead();
    condemnBundles(store.database, zstd.algorithm);
    expect(condemnBundles(store.database, zstd.algorithm).bundles).toBe(0);
    await store.rewrite(layerId, zstd);
    expect(condemnBundles(store.database, zstd.algorithm).bundles).toBe(0);
    expect(layersWithStale(store.database)).toEqual([]);
  });

  test("leaves alone what would cost more than it frees", async () => {
    const first = await store.add(store.makeFolder(manyDense(120)), zstd);
    const inline = Array.from({ length: 3000 }, (_, at) => [`file-${at}`, `content ${at}`]);
    const large = { ...Object.fromEntries(inline), ...manyDense(3) };
    await store.add(store.makeFolder(large), zstd);
    store.delete(first.layerId);
    expect(condemnBundles(store.database, zstd.algorithm).bundles).toBe(0);
    expect(layersWithStale(store.database)).toEqual([]);
  });

  test("leaves the rest alone where one layer alone is too dear", async () => {
    const first = await store.add(store.makeFolder(manyDense(120)), zstd);
    const other = await store.add(store.makeFolder(manyDense(120, 500)), zstd);
    const inline = Array.from({ length: 9000 }, (_, at) => [`file-${at}`, `content ${at}`]);
    const dear = { ...Object.fromEntries(inline), ...manyDense(3) };
    await store.add(store.makeFolder(dear), zstd);
    const cheap = await store.add(store.makeFolder(manyDense(3, 500)), zstd);
    store.delete(first.layerId, other.layerId);
    expect(condemnBundles(store.database, zstd.algorithm)).toMatchObject({ bundles: 1, layers: 1 });
    expect(layersWithStale(store.database)).toMatchObject([{ layer: cheap.layerId }]);
  });

  test("has a bundle that layers share freed with the last of them, and copied once", async () => {
    const first = await store.add(store.makeFolder(manyDense(120)), zstd);
    const folders = [3, 4, 5].map((count) => store.makeFolder(manyDense(count)));
    const shared: number[] = [];
    for (const folder of folders) shared.push((await store.add(folder, zstd)).layerId);
    store.delete(first.layerId);
    const usage = store.usage();
    expect(condemnBundles(store.database, zstd.algorithm)).toMatchObject({ layers: 3 });
    const rewritten: number[] = [];
    for (const layerId of shared) rewritten.push((await store.rewrite(layerId, zstd)).layerId);
    expect(store.usage()).toBeLessThan(usage / 2);
    expect(store.check()).toEqual([]);
    for (const [at, layerId] of rewritten.entries()) {
      expect(readTree(store.mount(layerId))).toEqual(readTree(folders[at]!));
    }
  });
});

describe.skipIf(process.getuid?.() !== 0)("markStale()", () => {
  test("has a layer that is being built with the content begin again", async () => {
    const files = { large: text(1, 700_000) };
    await store.add(store.makeFolder(files), zstd);
    const folder = store.makeFolder({ ...files, more: text(2, 60_000) });
    const built = await store.build(folder, zstd);
    const places = store.database.query<{ place: number }, []>("SELECT place FROM chunks").all();
    markStale(
      store.database,
      places.map(({ place }) => blockOfPlace(place)),
    );
    expect(() => store.publish(built)).toThrow("deleted while the layer was built");
    const again = await store.add(folder, zstd);
    expect(readTree(store.mount(again.layerId))).toEqual(readTree(folder));
    store.unmountAll();
    store.sweep();
    expect(store.check()).toEqual([]);
  });
});

/**
 * Layers made of tables of contents, mounted by the kernel. Nobody serves what is missing: here it
 * is zeros until the test has filled the pack.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repairFindings } from "../../src/check/repair.ts";
import { compressionAlgorithm } from "../../src/erofs/compression.ts";
import type { ExtentCodec } from "../../src/erofs/extent-codec.ts";
import type { LazyFormat } from "../../src/lazy/model.ts";
import { Presence } from "../../src/ondemand/presence.ts";
import { moveLayerBlobs } from "../../src/store/layer-blobs.ts";
import {
  findLazyLayer,
  listLazyLayers,
  listLazyPacks,
  markComplete,
} from "../../src/store/lazy-layers.ts";
import { openPieces } from "../../src/store/lazy-pack.ts";
import { isLazyPack, packBytesOf } from "../../src/store/layout.ts";
import { imagePath, packPath, piecesPath } from "../../src/store/paths.ts";
import { readStatistics } from "../../src/store/statistics.ts";
import { defined } from "../../src/util/assert.ts";
import { MiB } from "../../src/util/bytes.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import type { Tree } from "../support/image/model.ts";
import { writeTar } from "../support/image/tar.ts";
import { decompressAll, lazyBlob } from "../support/lazy/lazy-blob.ts";
import {
  addEager,
  addLazy,
  fillPack,
  keyOf,
  tableOf,
  buildOf,
} from "../support/lazy/lazy-store.ts";
import { randomBytes } from "../support/random.ts";
import { rejection } from "../support/rejection.ts";
import { TestStore } from "../support/store.ts";
import { text } from "../support/store-files.ts";
import { type RawEntry, rawTar } from "../support/tar/raw-tar.ts";
import { readTree } from "../support/tree.ts";

const chunkBytes = 4 * MiB;
const zstd: ExtentCodec = { algorithm: compressionAlgorithm.zstd, level: 3 };
const deflate: ExtentCodec = { algorithm: compressionAlgorithm.deflate, level: 6 };
const formats: readonly LazyFormat[] = ["estargz", "zstd-chunked"];

let store: TestStore;

beforeEach(() => {
  store = new TestStore(chunkBytes);
});

afterEach(() => {
  store[Symbol.dispose]();
});

/** Content of every size, files that come again, and everything a tar can say of them. */
const various: readonly RawEntry[] = [
  { name: "./", flag: "5", mode: 0o755 },
  { name: "empty", content: "" },
  { name: "tiny", content: "tiny" },
  { name: "small", content: text(1, 9000), mode: 0o4755, uid: 12, gid: 70_000 },
  { name: "again", content: text(1, 9000) },
  { name: "one", content: text(2, 3 * MiB) },
  { name: "several", content: text(3, 11 * MiB + 5) },
  { name: "random", content: randomBytes("random", 5 * MiB) },
  { name: "even", content: randomBytes("even", 8 * MiB) },
  { name: "zeros", content: Buffer.alloc(9 * MiB) },
  {
    name: "within",
    content: Buffer.concat([text(4, chunkBytes), Buffer.alloc(chunkBytes), text(5, 7)]),
  },
  { name: "dir/", flag: "5", mode: 0o1777, mtime: 5 },
  { name: "dir/link", flag: "1", linkName: "one" },
  { name: "dir/sym", flag: "2", linkName: "../small" },
  { name: "dir/null", flag: "3", device: [1, 3] },
  { name: "dir/pipe", flag: "6" },
  { name: "dir/.wh.gone", content: "" },
  { name: "implied/deep/file", content: "implied", pax: { "SCHILY.xattr.user.note": "x" } },
  { name: "old", content: text(6, 100_000), pax: { mtime: "-1.25" } },
];

function isImplied(name: string): boolean {
  return name.startsWith("implied");
}

/** What apply shows of a lazy blob, without what is in it for the sake of the format. */
function withoutSpecial(tree: Tree): Tree {
  const special = /^(?:stargz\.index\.json|\.(?:no\.)?prefetch\.landmark)$/;
  return new Map([...tree].filter(([path]) => !special.test(path)));
}

function treeOf(layerId: number): Tree {
  const tree = readTree(store.mount(layerId));
  store.unmountAll();
  return tree;
}

/** All layers of the hard cases, without what a table of contents cannot say. */
function hardTars(): Buffer[] {
  return hardCaseLayers().map((layer) =>
    writeTar(layer.filter(({ path }) => !path.includes("latin1-\xe9"))),
  );
}

function packFiles(): string[] {
  return readdirSync(store.paths.packs).sort();
}

function lazyFilesOf(packId: number): string[] {
  return packFiles().filter((name) => name.startsWith(`${packId}.`));
}

describe.skipIf(process.getuid?.() !== 0)("a layer made of a table of contents", () => {
  test.each(formats)("%s: shows what apply shows, once its pack is full", async (format) => {
    for (const place of ["first", "upper"] as const) {
      const entries = place === "first" ? various : various.filter(({ name }) => !isImplied(name));
      const blob = await lazyBlob(rawTar(entries), format);
      const { packId, layerId, missingBytes } = await addLazy(store, blob, place, zstd);
      expect(missingBytes).toBeGreaterThan(20 * MiB);
      fillPack(store, defined(packId, "a pack"), blob);
      const eager = await addEager(store, decompressAll(blob.bytes), place, zstd);
      expect(treeOf(layerId)).toEqual(withoutSpecial(treeOf(eager.layerId)));
      store.delete(eager.layerId, layerId);
      store.sweep();
    }
  });

  test.each(formats)("%s: shows every hard case", async (format) => {
    for (const [at, tar] of hardTars().entries()) {
      const place = at === 0 ? "first" : "upper";
      const blob = await lazyBlob(tar, format);
      const { packId, layerId } = await addLazy(store, blob, place, zstd);
      fillPack(store, defined(packId, "a pack"), blob);
      const eager = await addEager(store, tar, place, zstd);
      expect(treeOf(layerId)).toEqual(treeOf(eager.layerId));
    }
    expect(store.check()).toEqual([]);
  });

  test("has zeros where nothing was fetched, and its other files whole", async () => {
    const known = { name: "known", content: text(1, 5 * MiB) };
    await addEager(store, rawTar([known]), "first", zstd);
    const blob = await lazyBlob(
      rawTar([known, { name: "new", content: text(2, 70_000) }]),
      "estargz",
    );
    const { layerId } = await addLazy(store, blob, "first", zstd);
    const folder = store.mount(layerId);
    expect(readFileSync(join(folder, "known")).equals(text(1, 5 * MiB))).toBe(true);
    expect(readFileSync(join(folder, "new")).equals(Buffer.alloc(70_000))).toBe(true);
  });

  test("is complete where the node has all of it, and has no pack", async () => {
    const entries = [
      { name: "small", content: text(1, 9000) },
      { name: "large", content: text(2, 9 * MiB) },
      { name: "random", content: randomBytes("known", 5 * MiB) },
    ];
    await addEager(store, rawTar(entries), "first", zstd);
    const blob = await lazyBlob(rawTar([...entries, { name: "dir", flag: "5" }]), "zstd-chunked");
    const added = await addLazy(store, blob, "first", zstd);
    const bytes = 9000 + 14 * MiB;
    expect(added).toMatchObject({ packId: undefined, missingBytes: 0, knownBytes: bytes });
    const { database, paths } = store;
    const found = findLazyLayer(database, paths, keyOf(tableOf(blob), "upper"));
    expect(found).toMatchObject({ layer: added.layerId, pack: undefined, state: "complete" });
    expect(packFiles()).toEqual(["1.pack"]);
    const eager = await addEager(store, decompressAll(blob.bytes), "first", zstd);
    expect(treeOf(added.layerId)).toEqual(withoutSpecial(treeOf(eager.layerId)));
    expect(store.check()).toEqual([]);
  });

  test.each([
    ["as it is", undefined, undefined],
    ["as it is, for an image that could be compressed", undefined, zstd],
    ["compressed", deflate, deflate],
    ["compressed, where nothing new would be", zstd, undefined],
  ])("takes known content %s", async (_, earlier, now) => {
    const half = text(1, 8 * MiB);
    const known = [
      { name: "known", content: half },
      { name: "bundled", content: text(3, 5000) },
    ];
    await addEager(store, rawTar(known), "first", earlier);
    const mixed = Buffer.concat([half.subarray(0, 4 * MiB), text(2, 6 * MiB), text(3, 5000)]);
    const blob = await lazyBlob(rawTar([...known, { name: "mixed", content: mixed }]), "estargz");
    const added = await addLazy(store, blob, "first", now);
    expect(added).toMatchObject({ missingBytes: 6 * MiB + 5000, knownBytes: 8 * MiB + 5000 });
    fillPack(store, defined(added.packId, "a pack"), blob);
    expect(readFileSync(join(store.mount(added.layerId), "mixed")).equals(mixed)).toBe(true);
    store.unmountAll();
    expect(store.check()).toEqual([]);
  });

  test("refers to what it has twice only once, and fetches no zeros", async () => {
    const content = text(1, 9 * MiB);
    const entries = ["one", "two", "three"].map((name) => ({ name, content }));
    const blob = await lazyBlob(rawTar(entries), "estargz");
    const { missingBytes, missingPieces } = await addLazy(store, blob);
    expect([missingBytes, missingPieces]).toEqual([9 * MiB, 3]);
  });

  test("is built again where content that it found is gone", async () => {
    const known = { name: "known", content: text(1, 300_000) };
    const { layerId } = await addEager(store, rawTar([known]));
    const blob = await lazyBlob(rawTar([known, { name: "new", content: "new" }]), "estargz");
    const { layer } = await buildOf(store, tableOf(blob), "first");
    store.delete(layerId);
    expect(() => store.publish(layer)).toThrow("deleted while the layer was built");
    const again = await addLazy(store, blob);
    expect(again.missingBytes).toBe(300_003);
  });

  test("that needs a directory from below is refused, and leaves nothing", async () => {
    const blob = await lazyBlob(rawTar([{ name: "below/file", content: "x" }]), "estargz");
    const failure = await rejection(addLazy(store, blob, "upper"));
    expect(failure).toMatchObject({ code: "failed_precondition" });
    expect(String(failure)).toContain("not lazy: the layer takes something from those below it");
    expect(readdirSync(store.paths.packs)).toEqual([]);
    expect(readdirSync(store.paths.images)).toEqual([]);
  });

  test("is found by its blob, in every place where it would be the same", async () => {
    const blob = await lazyBlob(rawTar([{ name: "file", content: "x" }]), "estargz");
    const { layerId, packId } = await addLazy(store, blob, "first");
    const { database, paths } = store;
    for (const place of ["first", "upper"] as const) {
      const found = findLazyLayer(database, paths, keyOf(tableOf(blob), place));
      expect(found).toMatchObject({ layer: layerId, pack: packId, state: "fetching", inodes: 2 });
    }
    markComplete(database, defined(packId, "a pack"));
    expect(listLazyLayers(database)).toMatchObject([{ layer: layerId, state: "complete" }]);
    rmSync(imagePath(paths, layerId));
    expect(findLazyLayer(database, paths, keyOf(tableOf(blob), "first"))).toBeUndefined();
  });
});

describe.skipIf(process.getuid?.() !== 0)("a lazy pack", () => {
  test("has the size of its class, and says where each piece comes from", async () => {
    const blob = await lazyBlob(rawTar(various), "estargz", ["one"]);
    const { packId = 0 } = await addLazy(store, blob);
    expect(isLazyPack(packId)).toBe(true);
    expect(statSync(packPath(store.paths, packId)).size).toBe(packBytesOf(packId));
    const { origin } = openPieces(store.paths, packId);
    expect(origin).toMatchObject({ digest: blob.digest, blobBytes: blob.bytes.length });
    expect(origin.prefetchEndBytes).toBeGreaterThan(0);
    const { lazyImages, missingBytes } = readStatistics(store.database, store.paths, new Map());
    expect([lazyImages, missingBytes > 20 * MiB]).toEqual([1, true]);
  });

  test("goes with its layer, with all that lies beside it", async () => {
    const blob = await lazyBlob(rawTar(various), "estargz");
    const { layerId, packId = 0 } = await addLazy(store, blob);
    for (const suffix of [".have", ".synced", ".exposed", ".have.new"]) {
      writeFileSync(join(store.paths.packs, `${packId}${suffix}`), "");
    }
    store.sweep();
    expect(lazyFilesOf(packId)).toHaveLength(6);
    store.delete(layerId);
    // What dedupd has marked is dedupd's to give free.
    expect(packFiles()).toEqual([`${packId}.exposed`]);
    store.sweep();
    expect(packFiles()).toEqual([`${packId}.exposed`]);
    expect(listLazyPacks(store.database)).toEqual([]);
    expect(listLazyLayers(store.database)).toEqual([]);
  });

  test("that a crash left without a layer is a leftover", async () => {
    const blob = await lazyBlob(rawTar(various), "estargz");
    const kept = await addLazy(store, blob);
    const other = await lazyBlob(rawTar([{ name: "file", content: "x" }]), "estargz");
    const { layer, facts } = await buildOf(store, tableOf(other), "first");
    layer.inline[Symbol.dispose]();
    expect(facts.packId).toBe((kept.packId ?? 0) + 1);
    expect(store.check()).toHaveLength(2);
    store.sweep();
    expect(store.check()).toEqual([]);
    expect(packFiles()).toEqual([`${kept.packId}.pack`, `${kept.packId}.pieces`]);
  });

  test("that is damaged is found, also by its data", async () => {
    const blob = await lazyBlob(rawTar(various), "estargz");
    const { layerId, packId = 0 } = await addLazy(store, blob);
    const path = packPath(store.paths, packId);
    const presence = Presence.open(path, openPieces(store.paths, packId).length);
    fillPack(store, packId, blob, (piece) => piece === 3);
    presence.set(2);
    expect(store.check()).toEqual([]);
    presence.set(3);
    const repairs = [{ kind: "give_up_layer", layerId }];
    expect(store.check()).toMatchObject([{ problem: "holds other bytes than it should", repairs }]);
    truncateSync(piecesPath(store.paths, packId), 100);
    expect(store.check()).toMatchObject([{ subject: `layer ${layerId}`, repairs }]);
    repairFindings(store.database, store.paths, store.check());
    expect(store.check()).toEqual([]);
    expect(packFiles()).toEqual([]);
  });
});

describe.skipIf(process.getuid?.() !== 0)("a lazy layer that is promoted", () => {
  test.each(formats)("%s: shows the same, and needs its pack no more", async (format) => {
    const known = [{ name: "old", content: text(6, 100_000) }];
    await addEager(store, rawTar(known), "first", zstd);
    const blob = await lazyBlob(rawTar(various), format);
    const { layerId, packId } = await addLazy(store, blob, "first", zstd);
    fillPack(store, defined(packId, "a pack"), blob);
    const before = treeOf(layerId);
    const promoted = await store.promote(layerId, zstd);
    moveLayerBlobs(store.database, layerId, promoted.layerId);
    store.delete(layerId);
    expect(packFiles()).toEqual(["1.pack"]);
    expect(treeOf(promoted.layerId)).toEqual(before);
    expect(store.check()).toEqual([]);
    const found = findLazyLayer(store.database, store.paths, keyOf(tableOf(blob), "first"));
    expect(found).toMatchObject({ layer: promoted.layerId, pack: undefined, state: "complete" });
  });

  test("takes the space that apply would have taken", async () => {
    const blob = await lazyBlob(rawTar(various), "zstd-chunked");
    const { layerId, packId } = await addLazy(store, blob, "first", zstd);
    fillPack(store, defined(packId, "a pack"), blob);
    const promoted = await store.promote(layerId, zstd);
    store.delete(layerId);
    const usage = store.usage();
    const eager = await addEager(store, rawTar(various), "first", zstd);
    expect(eager).toMatchObject({ layerId: promoted.layerId, reused: true });
    store.sweep();
    expect(store.usage()).toBe(usage);
  });

  test("is refused while a piece is missing, and stays as it was", async () => {
    const blob = await lazyBlob(rawTar(various), "estargz");
    const { layerId, packId } = await addLazy(store, blob, "first", zstd);
    fillPack(store, defined(packId, "a pack"), blob, (piece) => piece === 2);
    expect(await rejection(store.promote(layerId, zstd))).toMatchObject({ code: "data_loss" });
    store.sweep();
    expect(store.check()).toEqual([]);
    expect(await rejection(store.buildAgain(layerId, zstd))).toMatchObject({
      code: "failed_precondition",
    });
  });
});

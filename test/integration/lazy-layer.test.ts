/**
 * Layers made of tables of contents, mounted by the kernel. Nobody serves what is missing: here it
 * is zeros until the test has filled the pack.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { compressionAlgorithm } from "../../src/erofs/compression.ts";
import type { ExtentCodec } from "../../src/erofs/extent-codec.ts";
import type { LazyFormat } from "../../src/lazy/model.ts";
import { findLazyLayer, listLazyLayers, listLazyPacks } from "../../src/store/lazy-layers.ts";
import { isLazyPack, packBytesOf } from "../../src/store/layout.ts";
import { packPath, piecesPath } from "../../src/store/paths.ts";
import { readStatistics } from "../../src/store/statistics.ts";
import { defined } from "../../src/util/assert.ts";
import { KiB, MiB } from "../../src/util/bytes.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import type { Tree } from "../support/image/model.ts";
import { writeTar } from "../support/image/tar.ts";
import { decompressAll, lazyBlob } from "../support/lazy/lazy-blob.ts";
import { addEager, addLazy, fillPack, keyOf, tableOf, buildOf } from "../support/lazy/lazy-store.ts";
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
  { name: "within", content: Buffer.concat([text(4, chunkBytes), Buffer.alloc(chunkBytes), text(5, 7)]) },
  { name: "dir/", flag: "5", mode: 0o1777, mtime: 5 },
  { name: "dir/link", flag: "1", linkName: "one" },
  { name: "dir/sym", flag: "2", linkName: "../small" },
  { name: "dir/null", flag: "3", device: [1, 3] },
  { name: "dir/pipe", flag: "6" },
  { name: "dir/.wh.gone", content: "" },
  { name: "implied/deep/file", content: "implied", pax: { "SCHILY.xattr.user.note": "x" } },
  { name: "old", content: text(6, 100_000), pax: { mtime: "-1.25" } },
];

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
      const blob = await lazyBlob(rawTar(various.filter(({ name }) => place === "first" || !name.startsWith("implied"))), format);
      const { packId, layerId, missingBytes } = await addLazy(store, blob, place, zstd);
      expect(missingBytes).toBeGreaterThan(20 * MiB);
      fillPack(store, defined(packId, "a pack"), blob);
      const eager = await addEager(store, decompressAll(blob.bytes), place, zstd);
      expect(treeOf(layerId)).toEqual(withoutSpecial(treeOf(eager.layerId)));
      store.delete(eager.layerId, layerId);
      store.sweep();
    }
  });
});

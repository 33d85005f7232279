/**
 * Lazy layers whose chunks lie where a test wants them: cut anywhere, or so far apart that only
 * large packs have room for them.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { closeSync, openSync, readdirSync, readFileSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { compressionAlgorithm } from "../../src/erofs/compression.ts";
import { lazyClasses, packBlocksOf } from "../../src/store/layout.ts";
import { packPath } from "../../src/store/paths.ts";
import { defined } from "../../src/util/assert.ts";
import { GiB, MiB } from "../../src/util/bytes.ts";
import { sha256Digest } from "../../src/util/digest.ts";
import { contentOf, handBlob, type HandFile, tableOf } from "../support/lazy/hand-blob.ts";
import { addEager, addTable, fillPack } from "../support/lazy/lazy-store.ts";
import { fileRow } from "../support/lazy/make-toc.ts";
import { rejection } from "../support/rejection.ts";
import { TestStore } from "../support/store.ts";
import { text } from "../support/store-files.ts";
import { rawTar } from "../support/tar/raw-tar.ts";

const zstd = { algorithm: compressionAlgorithm.zstd, level: 3 } as const;

let store: TestStore;

beforeEach(() => {
  store = new TestStore(4 * MiB);
});

afterEach(() => {
  store[Symbol.dispose]();
});

/** Cut where no block begins, with zeros in between, beside one that is not. */
const odd: readonly HandFile[] = [
  { name: "odd", chunks: [text(1, 5000), text(2, 3001), 70_000, text(3, 1), 1, text(4, 9999)] },
  { name: "even", chunks: [text(5, 8192), text(6, 8192), text(7, 100)] },
  { name: "hole", chunks: [100_000, 50_000] },
  { name: "ends", chunks: [9000, text(8, 20_000), 12_345] },
];

describe.skipIf(process.getuid?.() !== 0)("a layer whose files are cut anywhere", () => {
  test("shows them, before and after it is promoted", async () => {
    const { table, blob } = handBlob(odd);
    const { layerId, packId } = await addTable(store, table, "first", zstd);
    fillPack(store, defined(packId, "a pack"), blob);
    const promoted = await store.promote(layerId, zstd);
    for (const layer of [layerId, promoted.layerId]) {
      const folder = store.mount(layer);
      for (const file of odd) {
        expect(readFileSync(join(folder, file.name)).equals(contentOf(file))).toBe(true);
      }
    }
    store.unmountAll();
    expect(store.check()).toEqual([]);
  });

  test("refers to files that are known as a whole", async () => {
    const known = odd.map((file) => ({ name: file.name, content: contentOf(file) }));
    await addEager(store, rawTar(known), "first", zstd);
    const { layerId, packId } = await addTable(store, handBlob(odd).table, "first", zstd);
    expect(packId).toBeUndefined();
    expect(readFileSync(join(store.mount(layerId), "odd")).equals(contentOf(odd[0]!))).toBe(true);
  });

  test.each(lazyClasses)("can lie in a pack of $packBlocks blocks", async ({ packBlocks }) => {
    // More than the next smaller class has room for, with words at both ends.
    const sizeBytes = packBlocks * 2048 + 2 * MiB;
    const sizes = Array.from({ length: Math.ceil(sizeBytes / GiB) }, (_, index) =>
      Math.min(GiB, sizeBytes - index * GiB),
    );
    const rows = sizes.map((chunkSize, index) => {
      const chunkDigest = sha256Digest(Buffer.from(`${index}`));
      const first = index === 0 ? { type: "reg", size: sizeBytes } : { type: "chunk" };
      const place = { offset: 100 + index, chunkOffset: index * GiB, chunkSize };
      return Object.assign({ name: "large", chunkDigest }, place, first);
    });
    const { layerId, packId = 0 } = await addTable(store, tableOf(rows, 100_000));
    expect(packBlocksOf(packId)).toBe(packBlocks);
    const pack = openSync(packPath(store.paths, packId), "r+");
    writeSync(pack, "begin", 0);
    writeSync(pack, "end", sizeBytes - 3);
    closeSync(pack);
    const file = openSync(join(store.mount(layerId), "large"), "r");
    const read = (length: number, at: number) => {
      const bytes = Buffer.alloc(length);
      readSync(file, bytes, 0, length, at);
      return bytes.toString();
    };
    expect([read(5, 0), read(3, sizeBytes - 3)]).toEqual(["begin", "end"]);
    closeSync(file);
  });

  test("and that no pack has room for is refused", async () => {
    const rows = Array.from({ length: 33 }, (_, index) => ({
      ...fileRow(`file-${index}`, 100 + index, GiB),
      chunkDigest: sha256Digest(Buffer.from(`${index}`)),
    }));
    const failure = await rejection(addTable(store, tableOf(rows, 100_000)));
    expect(failure).toMatchObject({ code: "failed_precondition" });
    expect(String(failure)).toContain("not lazy: ");
    expect(readdirSync(store.paths.packs)).toEqual([]);
  });
});

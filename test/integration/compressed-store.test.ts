/**
 * Compressed content from a folder to the kernel and back to nothing, without a daemon around it.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { compressionAlgorithm } from "../../src/erofs/compression.ts";
import type { ExtentCodec } from "../../src/erofs/extent-codec.ts";
import { type ChunkRow } from "../../src/store/index-database.ts";
import { blockOfPlace, packOffsetBytes } from "../../src/store/layout.ts";
import { imagePath, packPath } from "../../src/store/paths.ts";
import { deleteLayers, discardRanges } from "../../src/store/reclaim.ts";
import { layersWithStale } from "../../src/store/stale-chunks.ts";
import { KiB, MiB } from "../../src/util/bytes.ts";
import { randomBytes } from "../support/random.ts";
import { manySmall, text, variousFiles } from "../support/store-files.ts";
import { TestStore } from "../support/store.ts";

const chunkBytes = 512 * KiB;
const codecs: readonly (readonly [string, ExtentCodec])[] = [
  ["zstd", { algorithm: compressionAlgorithm.zstd, level: 3 }],
  ["deflate", { algorithm: compressionAlgorithm.deflate, level: 6 }],
];

let store: TestStore;

beforeEach(() => {
  store = new TestStore(chunkBytes);
});

afterEach(() => {
  store[Symbol.dispose]();
});

function compare(folder: string, target: string, names: Iterable<string>): void {
  for (const name of names) {
    if (readFileSync(join(folder, name)).equals(readFileSync(join(target, name)))) continue;
    throw new Error(`${name} is not as it was`);
  }
}

function chunkOf(content: Uint8Array): ChunkRow {
  const hash = new Bun.CryptoHasher("sha256").update(content).digest();
  const row = store.database
    .query<ChunkRow, [Uint8Array<ArrayBuffer>]>("SELECT * FROM chunks WHERE sha256 = ?")
    .get(new Uint8Array(hash));
  if (row === null) throw new Error("the index does not have this chunk");
  return row;
}

/** Changes one byte in the middle of the first block of a chunk, or of its bundle. */
function damage(chunk: ChunkRow): void {
  const file = openSync(packPath(store.paths, 1), "r+");
  const offset = packOffsetBytes(blockOfPlace(chunk.place)) + 4000;
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, offset);
  byte[0]! ^= 0x55;
  writeSync(file, byte, 0, 1, offset);
  closeSync(file);
}

describe.skipIf(process.getuid?.() !== 0).each(codecs)("with %s a layer", (_, codec) => {
  test("reads through the kernel as its folder does, and takes less space", async () => {
    const files = variousFiles(chunkBytes);
    const folder = store.makeFolder(files);
    const { layerId, addedBytes } = await store.add(folder, codec);
    compare(folder, store.mount(layerId), Object.keys(files));
    expect(store.check()).toEqual([]);
    const image = statSync(imagePath(store.paths, layerId)).blocks * 512;
    expect(addedBytes).toBe(store.usage() + image);
    expect(addedBytes).toBeLessThan(4 * MiB);
  });

  test("keeps the holes of a sparse file, and reads what lies between them", async () => {
    const folder = store.makeFolder({ dense: randomBytes("chunk", 2 * chunkBytes) });
    const sparse = join(folder, "sparse");
    writeFileSync(sparse, "");
    truncateSync(sparse, 100 * chunkBytes + 5);
    const file = openSync(sparse, "r+");
    const chunk = randomBytes("chunk", chunkBytes);
    writeSync(file, chunk, 0, chunkBytes, 40 * chunkBytes);
    writeSync(file, text(1, 70_000), 0, 70_000, 70 * chunkBytes);
    closeSync(file);
    const built = await store.build(folder, codec);
    expect(built.contentBytes).toBe(4 * chunkBytes);
    const { layerId, unneededChunks } = store.publish(built);
    expect(unneededChunks).toBe(1);
    compare(folder, store.mount(layerId), ["dense", "sparse"]);
    store.unmountAll();
    store.sweep();
    expect(store.check()).toEqual([]);
    expect(store.usage()).toBe(3 * chunkBytes);
  });

  test("stores small files once that another layer has, whatever bundle they are in", async () => {
    const first = store.makeFolder(manySmall(60));
    const second = store.makeFolder({ ...manySmall(60), ...manySmall(3, 500) });
    await store.add(first, codec);
    const before = store.usage();
    const { layerId } = await store.add(second, codec);
    expect(store.usage() - before).toBeLessThanOrEqual(3 * 4096);
    compare(second, store.mount(layerId), Object.keys(manySmall(60)));
    expect(store.check()).toEqual([]);
  });

  test("that is identical to another one is the same layer", async () => {
    const folder = store.makeFolder(variousFiles(chunkBytes));
    const first = await store.add(folder, codec);
    const before = store.usage();
    const second = await store.add(folder, codec);
    expect([first.reused, second.reused]).toEqual([false, true]);
    expect(second.layerId).toBe(first.layerId);
    expect(store.usage()).toBe(before);
  });

  test("keeps a bundle while it uses one file of it, then gives the space back", async () => {
    const kept = manySmall(1);
    const first = await store.add(store.makeFolder(manySmall(40)), codec);
    const folder = store.makeFolder(kept);
    const second = await store.add(folder, codec);
    const before = store.usage();
    deleteLayers(store.database, store.paths, [first.layerId]);
    expect(store.usage()).toBeLessThan(before);
    expect(store.usage()).toBeGreaterThan(0);
    compare(folder, store.mount(second.layerId), Object.keys(kept));
    store.unmountAll();
    expect(store.check()).toEqual([]);
    deleteLayers(store.database, store.paths, [second.layerId]);
    expect(store.usage()).toBe(0);
    expect(store.check()).toEqual([]);
  });

  test("built beside one with the same content leaves nothing of its copy", async () => {
    const folders = ["one", "two"].map((name) =>
      store.makeFolder({ ...variousFiles(chunkBytes), name }),
    );
    const [left, right] = await Promise.all(folders.map((folder) => store.build(folder, codec)));
    const first = store.publish(left!);
    expect(first.unneededChunks).toBe(0);
    const second = store.publish(right!);
    expect(second.unneededChunks).toBeGreaterThan(80);
    store.sweep();
    expect(store.check()).toEqual([]);
    compare(folders[1]!, store.mount(second.layerId), Object.keys(variousFiles(chunkBytes)));
    store.unmountAll();
    deleteLayers(store.database, store.paths, [first.layerId, second.layerId]);
    expect(store.usage()).toBe(0);
  });

  test("uses raw content of an earlier setting beside its own compressed one", async () => {
    const old = { ...manySmall(10), large: text(1, 700_000) };
    await store.add(store.makeFolder(old), undefined);
    const before = store.usage();
    const files = { ...old, ...manySmall(10, 50), more: text(2, 700_000) };
    const folder = store.makeFolder(files);
    const { layerId } = await store.add(folder, codec);
    expect(store.usage() - before).toBeLessThan(400_000);
    compare(folder, store.mount(layerId), Object.keys(files));
    expect(store.check()).toEqual([]);
  });

  test("leaves alone content of an algorithm that its image cannot have", async () => {
    const files = { ...manySmall(10), large: text(1, 700_000) };
    const folder = store.makeFolder(files);
    const other = codecs.find(([, { algorithm }]) => algorithm !== codec.algorithm)![1];
    await store.add(folder, other);
    for (const setting of [codec, undefined]) {
      const { layerId, reused } = await store.add(folder, setting);
      expect(reused).toBe(false);
      compare(folder, store.mount(layerId), Object.keys(files));
    }
    expect(store.check()).toEqual([]);
  });

  test("is refused when a bundle it found was deleted meanwhile, can be built again", async () => {
    const { layerId } = await store.add(store.makeFolder(manySmall(30)), codec);
    const folder = store.makeFolder({ ...manySmall(30), more: "more" });
    const built = await store.build(folder, codec);
    deleteLayers(store.database, store.paths, [layerId]);
    expect(() => store.publish(built)).toThrow("deleted while the layer was built");
    const again = await store.add(folder, codec);
    compare(folder, store.mount(again.layerId), Object.keys(manySmall(30)));
  });

  test("mends compressed content that the pack has lost, where that comes again", async () => {
    const files = { ...manySmall(5), large: text(1, 700_000) };
    const folder = store.makeFolder(files);
    const { layerId } = await store.add(folder, codec);
    for (const content of [
      manySmall(5)["small-0"] as Buffer,
      files.large.subarray(0, chunkBytes),
    ]) {
      const block = blockOfPlace(chunkOf(content).place);
      discardRanges(store.paths, [{ block, count: 1 }]);
    }
    const again = await store.add(folder, codec);
    expect(again).toMatchObject({ reused: false, restoredChunks: 2 });
    compare(folder, store.mount(again.layerId), Object.keys(files));
    expect(layersWithStale(store.database).map(({ layer }) => layer)).toEqual([layerId]);
    const mended = await store.rewrite(layerId, codec);
    expect(mended.layerId).toBe(again.layerId);
    expect(store.check()).toEqual([]);
  });

  test("is found by check to be indexed wrongly", async () => {
    const files = { ...manySmall(5), large: text(1, 700_000) };
    await store.add(store.makeFolder(files), codec);
    for (const change of [
      "UPDATE bundles SET size_bytes = size_bytes - 4096",
      "UPDATE chunks SET extents = x'0101' WHERE extents IS NOT NULL",
      "UPDATE chunks SET size_bytes = 7 WHERE blocks = 0",
      "DELETE FROM bundles",
      "DELETE FROM chunks WHERE blocks = 0",
    ]) {
      store.database.run("BEGIN");
      store.database.run(change);
      expect([change, store.check().length > 0]).toEqual([change, true]);
      store.database.run("ROLLBACK");
    }
    expect(store.check()).toEqual([]);
  });

  test("is found damaged by check, chunk by chunk", async () => {
    const files = { ...manySmall(5), large: text(1, 700_000) };
    await store.add(store.makeFolder(files), codec);
    damage(chunkOf(files.large.subarray(0, chunkBytes)));
    expect(store.check().map(({ problem }) => problem)).toEqual([
      "holds other bytes than it should",
    ]);
    damage(chunkOf(manySmall(5)["small-0"] as Buffer));
    expect(store.check().length).toBeGreaterThan(1);
  });
});

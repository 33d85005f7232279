import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { firstBlockOfPack, packBlocks, packBytesOf } from "../../../src/store/layout.ts";
import { deleteLazyPack } from "../../../src/store/lazy-pack.ts";
import { PackAllocator, verifyPackFile } from "../../../src/store/pack-allocator.ts";
import { exposedMarkerPath, packPath, piecesPath, storePaths } from "../../../src/store/paths.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";

describe("PackAllocator", () => {
  test("hands out ascending blocks of a new sparse pack", async () => {
    using folder = scratchFolder("unit");
    const paths = storePaths(folder.path);
    const allocator = new PackAllocator(paths);
    await allocator.load(() => undefined);
    const reservation = allocator.begin();
    const first = await allocator.reserve(reservation, 3);
    const second = await allocator.reserve(reservation, 2);
    expect([first, second]).toEqual([firstBlockOfPack(1), firstBlockOfPack(1) + 3]);
    const status = statSync(packPath(paths, 1));
    expect([status.size, status.blocks]).toEqual([packBytesOf(1), 0]);
  });

  test("never gives two conversions the same block", async () => {
    using folder = scratchFolder("unit");
    const allocator = new PackAllocator(storePaths(folder.path));
    await allocator.load(() => undefined);
    const reservations = Array.from({ length: 20 }, () => allocator.begin());
    const blocks = await Promise.all(reservations.map((one) => allocator.reserve(one, 1)));
    expect(new Set(blocks).size).toBe(20);
  });

  test("continues behind the content a pack has after a restart", async () => {
    using folder = scratchFolder("unit");
    const paths = storePaths(folder.path);
    const before = new PackAllocator(paths);
    await before.load(() => undefined);
    await before.reserve(before.begin(), 10);
    const after = new PackAllocator(paths);
    await after.load(() => firstBlockOfPack(1) + 10);
    expect(await after.reserve(after.begin(), 1)).toBe(firstBlockOfPack(1) + 10);
  });

  test("goes on in a second pack when the first is full", async () => {
    using folder = scratchFolder("unit");
    const allocator = new PackAllocator(storePaths(folder.path));
    await allocator.load(() => undefined);
    const reservation = allocator.begin();
    await allocator.reserve(reservation, packBlocks - 1);
    expect(await allocator.reserve(reservation, 2)).toBe(firstBlockOfPack(2));
  });

  test("deletes an empty pack, but not under a conversion", async () => {
    using folder = scratchFolder("unit");
    const paths = storePaths(folder.path);
    const allocator = new PackAllocator(paths);
    await allocator.load(() => undefined);
    const reservation = allocator.begin();
    await allocator.reserve(reservation, 1);
    await allocator.deleteEmpty(() => true);
    expect(existsSync(packPath(paths, 1))).toBe(true);
    allocator.end(reservation);
    await allocator.deleteEmpty(() => false);
    expect(existsSync(packPath(paths, 1))).toBe(true);
    await allocator.deleteEmpty(() => true);
    expect(existsSync(packPath(paths, 1))).toBe(false);
  });
});

describe("PackAllocator for lazy layers", () => {
  test("makes a sparse pack of the class, with the lowest number that is free", async () => {
    using folder = scratchFolder("unit");
    const paths = storePaths(folder.path);
    const allocator = new PackAllocator(paths);
    await allocator.load(() => undefined);
    const create = (bytes: number) => allocator.createLazyPack(allocator.begin(), bytes);
    expect([await create(1), await create(1), await create(2 ** 28)]).toEqual([512, 513, 16_896]);
    const status = statSync(packPath(paths, 16_896));
    expect([status.size, status.blocks]).toEqual([2 ** 30, 0]);
    rmSync(packPath(paths, 512));
    writeFileSync(piecesPath(paths, 512), "of another layer");
    expect(await create(1)).toBe(512);
    expect(existsSync(piecesPath(paths, 512))).toBe(false);
  });

  test("gives no number that somebody still has open", async () => {
    using folder = scratchFolder("unit");
    const allocator = new PackAllocator(storePaths(folder.path));
    await allocator.load(() => undefined);
    allocator.hold([512]);
    expect(await allocator.createLazyPack(allocator.begin(), 1)).toBe(513);
    allocator.unhold([512]);
    expect(await allocator.createLazyPack(allocator.begin(), 1)).toBe(512);
  });

  test("gives no number that dedupd has marked, whatever became of the pack", async () => {
    using folder = scratchFolder("unit");
    const paths = storePaths(folder.path);
    const allocator = new PackAllocator(paths);
    await allocator.load(() => undefined);
    writeFileSync(exposedMarkerPath(paths, 512), "");
    expect(await allocator.createLazyPack(allocator.begin(), 1)).toBe(513);
    deleteLazyPack(paths, 512);
    expect(existsSync(exposedMarkerPath(paths, 512))).toBe(true);
    rmSync(exposedMarkerPath(paths, 512));
    expect(await allocator.createLazyPack(allocator.begin(), 1)).toBe(512);
  });

  test("drops the pack of a layer that was not published, and keeps others", async () => {
    using folder = scratchFolder("unit");
    const paths = storePaths(folder.path);
    const allocator = new PackAllocator(paths);
    await allocator.load(() => undefined);
    const [first, second] = [allocator.begin(), allocator.begin()];
    await allocator.createLazyPack(first, 1);
    await allocator.createLazyPack(second, 1);
    await allocator.dropLazyPack(first, undefined);
    await allocator.dropLazyPack(second, 513);
    await allocator.deleteEmpty(() => true);
    expect(readdirSync(paths.packs)).toEqual(["513.pack"]);
    const again = new PackAllocator(paths);
    await again.load(() => undefined);
    await again.deleteEmpty(() => true);
    expect(await again.reserve(again.begin(), 1)).toBe(firstBlockOfPack(1));
    expect(existsSync(packPath(paths, 513))).toBe(true);
  });

  test("refuses a layer that no pack has room for", async () => {
    using folder = scratchFolder("unit");
    const allocator = new PackAllocator(storePaths(folder.path));
    await allocator.load(() => undefined);
    const failure = allocator.createLazyPack(allocator.begin(), 2 ** 35 + 1);
    expect(failure).rejects.toMatchObject({ code: "failed_precondition" });
    expect(failure).rejects.toThrow("not lazy: ");
  });
});

describe("verifyPackFile()", () => {
  test("names a missing pack and the remedy", async () => {
    using folder = scratchFolder("unit");
    const failure = verifyPackFile(storePaths(folder.path), 4);
    expect(failure).rejects.toMatchObject({ code: "data_loss", remedy: expect.any(String) });
    expect(failure).rejects.toThrow("4.pack");
  });
});

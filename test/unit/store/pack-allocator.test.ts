import { describe, expect, test } from "bun:test";
import { existsSync, statSync } from "node:fs";
import { firstBlockOfPack, packBlocks, packBytesOf } from "../../../src/store/layout.ts";
import { PackAllocator, verifyPackFile } from "../../../src/store/pack-allocator.ts";
import { packPath, storePaths } from "../../../src/store/paths.ts";
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

describe("verifyPackFile()", () => {
  test("names a missing pack and the remedy", async () => {
    using folder = scratchFolder("unit");
    const failure = verifyPackFile(storePaths(folder.path), 4);
    expect(failure).rejects.toMatchObject({ code: "data_loss", remedy: expect.any(String) });
    expect(failure).rejects.toThrow("4.pack");
  });
});

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { blockBytes, firstBlockOfPack } from "../../../src/store/layout.ts";
import { PackWriter } from "../../../src/store/pack-writer.ts";
import { packPath, storePaths, type StorePaths } from "../../../src/store/paths.ts";

const packId = 1;
const block = firstBlockOfPack(packId);
const content = Buffer.alloc(blockBytes, 7);

let folder: ScratchFolder;
let paths: StorePaths;
let writer: PackWriter;

beforeEach(() => {
  folder = scratchFolder("pack-writer");
  paths = storePaths(folder.path);
  mkdirSync(paths.packs);
  makePack();
  writer = new PackWriter(paths);
});

afterEach(() => {
  writer.close();
  folder[Symbol.dispose]();
});

function makePack(): void {
  writeFileSync(packPath(paths, packId), "");
  truncateSync(packPath(paths, packId), 4 * blockBytes);
}

describe("PackWriter", () => {
  test("writes to the pack that got the number of one it had looked into", async () => {
    await writer.write(block, [content]);
    expect(writer.isAllocated(block, 1)).toBe(true);
    rmSync(packPath(paths, packId));
    makePack();
    expect(writer.isAllocated(block, 1)).toBe(false);
    await writer.write(block, [content]);
    writer.sync();
    expect(readFileSync(packPath(paths, packId)).subarray(0, blockBytes)).toEqual(content);
  });

  test("has nothing of a pack that was deleted", async () => {
    await writer.write(block, [content]);
    rmSync(packPath(paths, packId));
    expect(writer.isAllocated(block, 1)).toBe(false);
  });
});

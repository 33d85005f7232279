import { describe, expect, test } from "bun:test";
import {
  blocksFor,
  firstBlockOfPack,
  mergeRanges,
  packBlocks,
  packBytesOf,
  packIdMax,
  packOfBlock,
  packOffsetBytes,
} from "../../../src/store/layout.ts";

describe("addresses", () => {
  test("tell the pack and the offset of a block", () => {
    const block = firstBlockOfPack(3) + 5;
    expect(packOfBlock(block)).toBe(3);
    expect(packOffsetBytes(block)).toBe(5 * 4096);
  });

  test("of the last pack stay below the mark of a hole", () => {
    expect(firstBlockOfPack(packIdMax) + packBlocks - 1).toBeLessThan(0xffff_ffff);
  });

  test("of the last block of a pack end at the pack's size", () => {
    const last = firstBlockOfPack(7) + packBlocks - 1;
    expect(packOffsetBytes(last) + 4096).toBe(packBytesOf(7));
  });

  test("round sizes up to blocks", () => {
    expect([0, 1, 4096, 4097].map(blocksFor)).toEqual([0, 1, 1, 2]);
  });
});

describe("mergeRanges()", () => {
  test("sorts and joins neighbours", () => {
    const ranges = [
      { block: 30, count: 1 },
      { block: 10, count: 2 },
      { block: 12, count: 3 },
    ];
    expect(mergeRanges(ranges)).toEqual([
      { block: 10, count: 5 },
      { block: 30, count: 1 },
    ]);
  });

  test("does not join over the border of two packs", () => {
    const border = firstBlockOfPack(2);
    const ranges = [
      { block: border - 1, count: 1 },
      { block: border, count: 1 },
    ];
    expect(mergeRanges(ranges)).toEqual(ranges);
  });
});

import { describe, expect, test } from "bun:test";
import {
  blockOfPlace,
  blocksFor,
  blocksOfPack,
  firstBlockOfPack,
  isLazyPack,
  lazyBytesMax,
  lazyClasses,
  lazyPackFor,
  mergeRanges,
  packBlocks,
  packBlocksOf,
  packBytesOf,
  packIdMax,
  packOfBlock,
  packOffsetBytes,
  placesOfPack,
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

/** Pack numbers at the borders of all classes, and some between. */
const somePacks = [1, 2, 100, 254, packIdMax].concat(
  lazyClasses.flatMap(({ firstId, lastId }) => [
    firstId,
    firstId + 1,
    Math.floor((firstId + lastId) / 2),
    lastId,
  ]),
);

describe("packs", () => {
  test.each(somePacks)("number %d: every block of it tells the pack and its offset", (packId) => {
    const { block, count } = blocksOfPack(packId);
    expect(count).toBe(packBlocksOf(packId));
    for (const offset of [0, 1, Math.floor(count / 3), count - 1]) {
      expect(packOfBlock(block + offset)).toBe(packId);
      expect(packOffsetBytes(block + offset)).toBe(offset * 4096);
    }
    const [from, to] = placesOfPack(packId);
    expect([blockOfPlace(from), blockOfPlace(to)]).toEqual([block, block + count]);
  });

  test("follow each other without a gap or an overlap, and end below the mark of a hole", () => {
    let end = firstBlockOfPack(1);
    const ranges = [{ firstId: 1, lastId: packIdMax }, ...lazyClasses];
    for (const { firstId, lastId } of ranges) {
      for (let packId = firstId; packId <= lastId; packId++) {
        const { block, count } = blocksOfPack(packId);
        expect(block).toBe(end);
        end = block + count;
      }
    }
    // Where the one that is left out would be.
    expect(end).toBe(2 ** 32 - 2 ** 23);
  });

  test("are local or lazy by their number", () => {
    expect([1, packIdMax, 512, 19_262].map(isLazyPack)).toEqual([false, false, true, true]);
    expect(() => packBytesOf(300)).toThrow(RangeError);
    expect(() => packBytesOf(19_263)).toThrow(RangeError);
  });

  test("of the smallest class with enough room are taken for lazy layers", () => {
    const sizes = [0, 1, 2 ** 27, 2 ** 27 + 1, 2 ** 30, 2 ** 33, 2 ** 33 + 1, lazyBytesMax];
    const ids = sizes.map((sizeBytes) => lazyPackFor(sizeBytes)?.firstId);
    expect(ids).toEqual([512, 512, 512, 16_896, 16_896, 18_944, 19_200, 19_200]);
    expect(lazyPackFor(lazyBytesMax + 1)).toBeUndefined();
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

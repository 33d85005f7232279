import { describe, expect, test } from "bun:test";
import {
  compactIndexBytes,
  decodeCompactIndex,
  encodeCompactIndex,
} from "../../../src/erofs/compact-index.ts";
import type { StoredExtent } from "../../../src/erofs/stored-extents.ts";
import { randomNumbers } from "./make-tree.ts";

/** Places in 32 bytes where an index can begin. */
const starts = [0, 8, 16, 24];

/** Extents of up to 32 blocks in a row, some of them raw. */
function randomRow(seed: number): StoredExtent[] {
  const random = randomNumbers(seed);
  const extents: StoredExtent[] = [];
  let block = 1_000_000;
  for (let count = 1 + random(40); count > 0; count--) {
    const blocks = 1 + random(32);
    const isRaw = blocks === 1 || random(10) < 3;
    const storedBlocks = isRaw ? blocks : 1 + random(blocks - 1);
    extents.push({ block, storedBlocks, blocks });
    block += storedBlocks;
  }
  return extents;
}

function blocksIn(extents: readonly StoredExtent[]): number {
  return extents.reduce((sum, { blocks }) => sum + blocks, 0);
}

/** As the decoder tells them: raw blocks one by one. */
function withSingleRaw(extents: readonly StoredExtent[]): StoredExtent[] {
  return extents.flatMap((extent) =>
    extent.storedBlocks < extent.blocks
      ? [extent]
      : Array.from({ length: extent.blocks }, (_, at) => ({
          block: extent.block + at,
          storedBlocks: 1,
          blocks: 1,
        })),
  );
}

describe("encodeCompactIndex", () => {
  test.each(starts)("tells extents in a row, with an index that begins at %d", (start) => {
    for (let seed = 1; seed <= 50; seed++) {
      const extents = randomRow(seed);
      const blocks = blocksIn(extents);
      const bytes = encodeCompactIndex(start, blocks, extents);
      expect(bytes?.length).toBe(compactIndexBytes(start, blocks));
      expect(decodeCompactIndex(bytes!, start, blocks)).toEqual(withSingleRaw(extents));
    }
  });

  test("tells extents that lie anywhere, as long as no two begin in one pack", () => {
    const extents = [5000, 90, 777_777].map((block) => ({ block, storedBlocks: 9, blocks: 32 }));
    const bytes = encodeCompactIndex(0, 96, extents);
    expect(decodeCompactIndex(bytes!, 0, 96)).toEqual(extents);
    expect(bytes).toHaveLength(96 * 2);
  });

  test("cannot tell where two that begin in one pack do not follow each other", () => {
    const raw = { block: 5000, storedBlocks: 3, blocks: 3 };
    const next = { block: 5004, storedBlocks: 2, blocks: 8 };
    expect(encodeCompactIndex(0, 11, [raw, { ...next, block: 5003 }])).toBeDefined();
    expect(encodeCompactIndex(0, 11, [raw, next])).toBeUndefined();
  });

  test("writes the entries and the address that the kernel reads", () => {
    // fs/erofs/zmap.c: 14 bits each, 2 of type above 12 of value, then the address.
    const bytes = encodeCompactIndex(0, 16, [{ block: 0x11223344, storedBlocks: 5, blocks: 16 }]);
    const bits = [...bytes!.subarray(0, 28)]
      .reverse()
      .map((byte) => byte.toString(2).padStart(8, "0"))
      .join("");
    const entries = (bits.match(/.{14}/g) ?? [])
      .reverse()
      .map((entry) => Number.parseInt(entry, 2));
    const rest = 2 << 12;
    const distances = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14].map((each) => rest | each);
    expect(entries).toEqual([1 << 12, rest | 0x805, ...distances, rest | 1]);
    expect(Buffer.from(bytes!).readUInt32LE(28)).toBe(0x11223344);
  });
});

describe("decodeCompactIndex", () => {
  test("refuses an index with any bit turned over, or reads other extents from it", () => {
    const extents = randomRow(7);
    const blocks = blocksIn(extents);
    const bytes = encodeCompactIndex(8, blocks, extents)!;
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Uint8Array.from(bytes);
      damaged[bit >>> 3]! ^= 1 << (bit & 7);
      expect(decodeCompactIndex(damaged, 8, blocks)).not.toEqual(withSingleRaw(extents));
    }
  });
});

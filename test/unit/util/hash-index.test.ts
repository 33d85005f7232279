import { describe, expect, test } from "bun:test";
import { HashIndex } from "../../../src/util/hash-index.ts";
import { keyedHash } from "../../../src/util/keyed-hash.ts";

describe("HashIndex", () => {
  test("finds each of many rows, and none for what was not added", () => {
    const index = new HashIndex();
    const rows = Array.from({ length: 20_000 }, (_, row) => `row ${row}`);
    for (const [row, key] of rows.entries()) index.add(keyedHash(0, key), row);
    for (const [row, key] of rows.entries()) {
      expect(index.find(keyedHash(0, key), (one) => rows[one] === key)).toBe(row);
    }
    expect(index.find(keyedHash(0, "none"), (row) => rows[row] === "none")).toBeUndefined();
  });

  test("tells rows of one hash apart", () => {
    const index = new HashIndex();
    for (let row = 0; row < 5000; row++) index.add(0xffff_ffff, row);
    expect(index.find(0xffff_ffff, (row) => row === 4999)).toBe(4999);
    expect(index.find(0xffff_fffe, () => true)).toBeUndefined();
  });
});

describe("keyedHash()", () => {
  test("depends on the number and on each byte", () => {
    const hashes = new Set<number>();
    const texts = [
      "",
      "\0",
      "\0\0",
      "a",
      "ab",
      "abc",
      "abcd",
      "abcde",
      "\xff",
      "abc\xff",
      "abcd\0",
    ];
    for (const number of [0, 1, 0xffff_ffff]) {
      for (const text of texts) hashes.add(keyedHash(number, text));
    }
    expect(hashes.size).toBe(3 * texts.length);
    for (const hash of hashes) expect(hash >= 0 && hash < 2 ** 32).toBe(true);
    expect(keyedHash(7, "abc")).toBe(keyedHash(7, "abc"));
  });

  test("spreads names over all places", () => {
    const places = new Uint32Array(256);
    for (let at = 0; at < 25_600; at++) places[keyedHash(1, `file-${at}.js`) & 0xff]! += 1;
    expect(Math.min(...places)).toBeGreaterThan(40);
    expect(Math.max(...places)).toBeLessThan(180);
  });
});

import { describe, expect, test } from "bun:test";
import { struct } from "../../../ffi/struct.ts";

const sample = struct(32, [
  ["byte", "u8"],
  ["padding", "bytes1"],
  ["short", "u16"],
  ["signed", "s32"],
  ["word", "u32"],
  ["tag", "bytes4"],
  ["long", "u64"],
  ["signedLong", "s64"],
]);

const value = {
  byte: 255,
  padding: new Uint8Array(1),
  short: 65535,
  signed: -2,
  word: 2 ** 32 - 1,
  tag: new Uint8Array([1, 2, 3, 4]),
  long: 2n ** 64n - 1n,
  signedLong: -3n,
};

describe("struct()", () => {
  test("decodes what it encoded", () => {
    expect(sample.decode(sample.encode(value))).toEqual(value);
  });

  test("is little-endian, and zero where nothing is given", () => {
    const bytes = sample.encode({ short: 0x0102, word: 0x03040506 });
    expect(bytes.subarray(0, 12).toString("hex")).toBe("000002010000000006050403");
  });

  test("knows the offsets", () => {
    expect(sample.offsets).toMatchObject({ byte: 0, short: 2, tag: 12, signedLong: 24 });
  });

  test("refuses a table that does not fill the structure", () => {
    expect(() => struct(5, [["word", "u32"]])).toThrow("the fields take 4 bytes");
  });

  test("refuses values that do not fit and input that is too short", () => {
    expect(() => sample.encode({ tag: new Uint8Array(5) })).toThrow("5 bytes for bytes4");
    expect(() => sample.encode({ byte: 256 })).toThrow();
    expect(() => sample.decode(new Uint8Array(31))).toThrow("too few");
  });
});

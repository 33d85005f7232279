import { describe, expect, test } from "bun:test";
import { ByteSlabs } from "../../../src/util/byte-slabs.ts";
import { byteString } from "../../../src/util/byte-string.ts";

describe("ByteSlabs", () => {
  test("gives back what it was given, short, long and empty, over many slabs", () => {
    const slabs = new ByteSlabs();
    const sizes = [0, 1, 100_000, 200_000, 262_144, 262_145, 900_000, 3, 0, 262_143, 2];
    const kept = sizes.map((size, at) => {
      const bytes = Buffer.alloc(size, at + 1);
      return { bytes, address: slabs.add(bytes) };
    });
    for (const { bytes, address } of kept) {
      expect(slabs.bytesAt(address, bytes.length).equals(bytes)).toBe(true);
    }
  });

  test("keeps byte strings of any bytes", () => {
    const slabs = new ByteSlabs();
    const text = byteString(Uint8Array.from({ length: 256 }, (_, byte) => byte));
    slabs.addString("before");
    const address = slabs.addString(text);
    expect(slabs.stringAt(address, text.length)).toBe(text);
    expect(slabs.holdsString(address, text)).toBe(true);
    expect(slabs.holdsString(address + 1, text)).toBe(false);
  });
});

import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { SpilledBytes } from "../../../src/store/spilled-bytes.ts";
import { KiB, MiB } from "../../../src/util/bytes.ts";

describe("SpilledBytes", () => {
  test("gives back what it was given, in any order, and leaves no file", () => {
    using folder = scratchFolder("spilled");
    using bytes = new SpilledBytes(folder.path);
    const sizes = [500, 17 * KiB, 0, 3, 4 * MiB, 5 * MiB, 1, 4 * MiB - 1, 511];
    const kept = Array.from({ length: 30 * sizes.length }, (_, at) => {
      const content = Buffer.alloc(at < sizes.length ? sizes[at]! : 20 * KiB + at, at + 1);
      return { content, address: bytes.add(content) };
    });
    expect(readdirSync(folder.path)).toEqual([]);
    for (const { content, address } of [...kept, ...kept.toReversed()]) {
      expect(content.equals(bytes.bytesAt(address, content.length))).toBe(true);
    }
  });

  test("opens no file for little", () => {
    using bytes = new SpilledBytes("/nonexistent");
    const address = bytes.add(Buffer.from("little"));
    expect(Buffer.from(bytes.bytesAt(address, 6)).toString()).toBe("little");
  });

  test("says where it could not put it", () => {
    using bytes = new SpilledBytes("/nonexistent");
    bytes.add(Buffer.alloc(3 * MiB));
    expect(() => bytes.add(Buffer.alloc(3 * MiB))).toThrow('in "/nonexistent"');
  });
});

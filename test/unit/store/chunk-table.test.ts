import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { compressionAlgorithm } from "../../../src/erofs/compression.ts";
import { ChunkTable } from "../../../src/store/chunk-table.ts";
import { placeOf } from "../../../src/store/layout.ts";

function hashOf(number: number): Uint8Array {
  return createHash("sha256").update(`${number}`).digest();
}

const plain = { encoding: 0, blocks: 1, extents: null } as const;

describe("ChunkTable", () => {
  test("knows each of many chunks by its content, and counts its uses", () => {
    const table = new ChunkTable();
    for (let ref = 0; ref < 5000; ref++) expect(table.add(hashOf(ref), ref + 1, true)).toBe(ref);
    for (let ref = 0; ref < 5000; ref += 7) expect(table.use(hashOf(ref), true)).toBe(ref);
    expect(table.use(hashOf(5000), true)).toBeUndefined();
    expect([table.usesOf(6), table.usesOf(7)]).toEqual([1, 2]);
    expect([table.length, table.sizeOf(4999)]).toEqual([5000, 5000]);
    expect(Buffer.from(table.sha256Of(4321)).equals(hashOf(4321))).toBe(true);
  });

  test("tells content that must be raw from the same that need not", () => {
    const table = new ChunkTable();
    table.add(hashOf(1), 9, true);
    expect(table.use(hashOf(1), false)).toBeUndefined();
    expect(table.twinOf(0)).toBeUndefined();
    table.add(hashOf(1), 9, false);
    expect([table.twinOf(0), table.twinOf(1)]).toEqual([1, undefined]);
    expect([table.needsRaw(0), table.needsRaw(1)]).toEqual([true, false]);
  });

  test("leaves what lies in a lazy pack out of the index", () => {
    const table = new ChunkTable();
    table.add(hashOf(1), 5, false);
    table.addUnique(5, false);
    table.addUnique(5, false);
    expect([table.isSettled(0), table.isSettled(1)]).toEqual([false, false]);
    table.settle(0, { ...plain, place: placeOf(1) }, "known");
    table.settle(1, { ...plain, place: placeOf(2) }, "lazy");
    table.settle(2, { ...plain, place: placeOf(3) }, "written");
    expect([0, 1, 2].map((ref) => table.originOf(ref))).toEqual(["known", "lazy", "written"]);
    expect([...table.used()]).toEqual([0, 1, 2]);
    expect([...table.indexed()]).toEqual([0, 2]);
    expect([...table.written()]).toEqual([2]);
    expect(table.use(new Uint8Array(32), false)).toBeUndefined();
  });

  test("keeps where a chunk was settled last", () => {
    const table = new ChunkTable(compressionAlgorithm.zstd);
    for (let ref = 0; ref < 3; ref++) table.add(hashOf(ref), 300_000, false);
    const extents = Uint8Array.of(1, 2, 3);
    const stored = {
      place: placeOf(2 ** 32 - 9, 131_071),
      encoding: 3,
      blocks: 6,
      extents,
    } as const;
    table.settle(1, stored, "written");
    expect({ ...table.storedOf(1), extents: [...(table.extentsOf(1) ?? [])] }).toEqual({
      ...stored,
      extents: [1, 2, 3],
    });
    expect([...table.written()]).toEqual([1]);
    table.settle(1, { ...stored, extents: Uint8Array.of(4, 5, 6) }, "known");
    expect([...(table.extentsOf(1) ?? [])]).toEqual([4, 5, 6]);
    table.settle(1, { place: placeOf(7), ...plain }, "known");
    expect(table.storedOf(1)).toEqual({ place: placeOf(7), ...plain });
    expect([...table.written()]).toEqual([]);
    expect(() => table.storedOf(0)).toThrow("settled");
    expect(() => table.usesOf(3)).toThrow("a chunk of the layer");
  });

  test("counts uses anew", () => {
    const table = new ChunkTable();
    for (let ref = 0; ref < 4; ref++) table.add(hashOf(ref), 1, true);
    table.recount([2, 2, 0]);
    expect([0, 1, 2, 3].map((ref) => table.usesOf(ref))).toEqual([1, 0, 2, 0]);
    expect([...table.used()]).toEqual([0, 2]);
  });
});

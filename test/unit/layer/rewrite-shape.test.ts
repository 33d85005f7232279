import { describe, expect, test } from "bun:test";
import { shapeOf } from "../../../src/layer/rewrite-shape.ts";
import type { ChunkRow } from "../../../src/store/index-database.ts";
import type { FilePiece } from "../../../src/store/layer-files.ts";
import { GiB, KiB, MiB } from "../../../src/util/bytes.ts";

function chunk(fileOffsetBytes: number, sizeBytes: number): FilePiece {
  return { kind: "chunk", fileOffsetBytes, chunk: { size_bytes: sizeBytes } as ChunkRow };
}

function hole(fileOffsetBytes: number, bytes: number): FilePiece {
  return { kind: "hole", fileOffsetBytes, bytes };
}

describe("shapeOf()", () => {
  test("takes the size of any chunk but one at the end", () => {
    const pieces = [chunk(0, 4 * MiB), chunk(4 * MiB, 100)];
    expect(shapeOf(pieces, 4 * MiB + 100)).toEqual({ chunkSizeBytes: 4 * MiB, hasHole: false });
    const sparse = [hole(0, 8 * MiB), chunk(8 * MiB, 4 * MiB), hole(12 * MiB, 100)];
    expect(shapeOf(sparse, 12 * MiB + 100)).toEqual({ chunkSizeBytes: 4 * MiB, hasHole: true });
  });

  test("has one chunk hold all of a file of one chunk, or of holes", () => {
    expect(shapeOf([chunk(0, 5_000)], 5_000)).toEqual({ chunkSizeBytes: 8_192, hasHole: false });
    expect(shapeOf([chunk(0, 700)], 700)).toEqual({ chunkSizeBytes: 4_096, hasHole: false });
    expect(shapeOf([hole(0, GiB)], GiB)).toEqual({ chunkSizeBytes: GiB, hasHole: true });
  });

  test("takes a size that divides the offset of the only chunk, which is at the end", () => {
    const end = [hole(0, 48 * KiB), chunk(48 * KiB, 100)];
    expect(shapeOf(end, 48 * KiB + 100)).toEqual({ chunkSizeBytes: 16 * KiB, hasHole: true });
    const far = [hole(0, 2 ** 40), chunk(2 ** 40, 100)];
    expect(shapeOf(far, 2 ** 40 + 100)).toEqual({ chunkSizeBytes: 64 * MiB, hasHole: true });
  });

  test("tells inline and empty files", () => {
    expect(shapeOf([{ kind: "inline", fileOffsetBytes: 0, bytes: 5 }], 5)).toBe("inline");
    expect(shapeOf([], 0)).toBe("inline");
  });
});

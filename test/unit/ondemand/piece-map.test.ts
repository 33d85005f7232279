import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { encodePieceMap, PieceMap, type Piece } from "../../../src/ondemand/piece-map.ts";
import { alignUp, GiB, KiB } from "../../../src/util/bytes.ts";
import { codeOf } from "../../support/ondemand/code-of.ts";
import { makeLazyPack, writeLazyPack } from "../../support/ondemand/lazy-pack.ts";
import { randomBytes } from "../../support/random.ts";

const origin = {
  format: "estargz",
  image: "registry.test/app:1",
  digest: `sha256:${"0".repeat(64)}`,
  blobBytes: 20 * GiB,
  prefetchEndBytes: 17,
} as const;

/** Pieces at random distances, some of equal content, far into a large blob and pack. */
function randomPieces(seed: string, count: number): Piece[] {
  const random = randomBytes(seed, count * 8);
  let packOffsetBytes = 0;
  return Array.from({ length: count }, (_, index) => {
    const at = index * 8;
    packOffsetBytes += (random[at]! & 3) * 4096;
    const sizeBytes = 1 + random.readUInt16LE(at + 1);
    const piece = {
      packOffsetBytes,
      sizeBytes,
      sha256: Bun.SHA256.hash(`content ${random[at + 3]!}`) as Uint8Array,
      blobOffsetBytes: 17 * GiB + random.readUInt32LE(at + 4),
      compressedBytes: 0xffff_ffff - index,
      innerOffsetBytes: index,
    };
    packOffsetBytes += sizeBytes;
    return piece;
  });
}

function mapOf(pieces: readonly Piece[]): PieceMap {
  const last = pieces.at(-1);
  const end = last === undefined ? 0 : last.packOffsetBytes + last.sizeBytes;
  return new PieceMap(encodePieceMap(origin, pieces, end), "test");
}

describe("encodePieceMap()", () => {
  test("refuses what does not fit, which would be zeros to its readers", () => {
    const [piece] = randomPieces("narrow", 1);
    for (const field of ["sizeBytes", "innerOffsetBytes", "compressedBytes"] as const) {
      const wide = { ...piece!, [field]: 2 ** 32 };
      expect(() => encodePieceMap(origin, [wide], 8 * GiB)).toThrow("32 bits");
    }
  });
});

describe("PieceMap", () => {
  test("gives back what was encoded", () => {
    for (const count of [0, 1, 2, 500]) {
      const pieces = randomPieces(`same ${count}`, count);
      const map = mapOf(pieces);
      expect(map.origin).toEqual(origin);
      expect(map.length).toBe(count);
      expect(pieces.map((_, index) => map.at(index))).toEqual(pieces);
    }
  });

  test("finds the pieces that hold any of the bytes", () => {
    const pieces = randomPieces("covering", 60);
    const map = mapOf(pieces);
    const offsets = pieces.flatMap(({ packOffsetBytes: start, sizeBytes }) => {
      return [start - 1, start, start + 1, start + sizeBytes - 1, start + sizeBytes];
    });
    for (const offset of offsets.filter((one) => one >= 0)) {
      for (const length of [1, 4096, 100_000]) {
        const holding = pieces.flatMap((piece, index) => {
          const isBefore = piece.packOffsetBytes + piece.sizeBytes <= offset;
          return isBefore || piece.packOffsetBytes >= offset + length ? [] : [index];
        });
        const [first, end] = map.covering(offset, length);
        expect(Array.from({ length: end - first }, (_, at) => first + at)).toEqual(holding);
      }
    }
  });

  test("finds pieces by their content, each of equal ones if asked for", () => {
    const pieces = randomPieces("find", 300);
    const map = mapOf(pieces);
    for (const [index, { sha256 }] of pieces.entries()) {
      expect(pieces[map.find(sha256)!]?.sha256).toEqual(sha256);
      expect(map.find(sha256, (piece) => piece === index)).toBe(index);
    }
    expect(map.find(Bun.SHA256.hash("nobody has it") as Uint8Array)).toBeUndefined();
    expect(map.find(new Uint8Array(32))).toBeUndefined();
    expect(map.find(new Uint8Array(32).fill(255))).toBeUndefined();
  });

  test("is the same after its memory was let go", () => {
    using folder = scratchFolder("pieces");
    const fixture = makeLazyPack({ sizes: [10_000, 1, 5000] });
    const map = PieceMap.open(writeLazyPack(folder.path, 512, fixture));
    map.release();
    expect(fixture.pieces.map((_, index) => map.at(index))).toEqual([...fixture.pieces]);
  });

  test("refuses every damage: any flipped byte, any length", () => {
    const bytes = encodePieceMap(origin, randomPieces("damage", 5), 10 ** 6);
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Uint8Array.from(bytes);
      damaged[at]! ^= 1 << (at & 7);
      expect(codeOf(() => new PieceMap(damaged, "test"))).toBe("data_loss");
      expect(codeOf(() => new PieceMap(bytes.subarray(0, at), "test"))).toBe("data_loss");
    }
    expect(codeOf(() => new PieceMap(Buffer.concat([bytes, bytes]), "test"))).toBe("data_loss");
  });

  test("refuses a file that is missing or empty", () => {
    using folder = scratchFolder("pieces");
    const path = join(folder.path, "512.pack");
    expect(codeOf(() => PieceMap.open(path))).toBe("data_loss");
    writeFileSync(join(folder.path, "512.pieces"), "");
    expect(codeOf(() => PieceMap.open(path))).toBe("data_loss");
    expect(readFileSync(join(folder.path, "512.pieces")).length).toBe(0);
  });

  test.each([
    ["estargz", 1, 0],
    ["zstd-chunked", 4, 512],
  ] as const)("finds the ends of files (%s)", (format, chunksPerMember, gapBytes) => {
    const sizes = [60 * KiB, 8 * KiB, 40 * KiB, 5000, 44 * KiB, 12 * KiB];
    const options = { format, sizes, chunkBytes: 16 * KiB, chunksPerMember, gapBytes };
    const { pieces, content } = makeLazyPack(options);
    const map = new PieceMap(encodePieceMap({ ...origin, format }, pieces, content.length), "test");
    let start = 0;
    for (const size of sizes) {
      const end = start + size;
      for (const at of [start, start + size / 2, end - 1])
        expect(map.fileEndOf(Math.floor(at), Infinity)).toBe(end);
      start = alignUp(end, 4096);
    }
    expect(map.fileEndOf(100, 20_000)).toBe(32 * KiB);
    expect(map.fileEndOf(content.length, Infinity)).toBe(content.length);
  });
});

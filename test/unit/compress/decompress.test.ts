import { describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { ContentReader, decompress } from "../../../src/compress/decompress.ts";
import { detectCompression, type Compression } from "../../../src/compress/detect.ts";
import { MiB } from "../../../src/util/bytes.ts";
import { randomBytes } from "../../support/random.ts";
import { rejection } from "../../support/rejection.ts";

const first = Buffer.alloc(100_000, "first ");
const second = randomBytes("second", 70_000);
const both = Buffer.concat([first, second]);
/** Four bytes of user data in the second kind of skippable frame (RFC 8878, section 3.1.2). */
const skippable = Buffer.from("512a4d180400000061626364", "hex");

async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

async function* cutByAnError(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes.subarray(0, bytes.length / 2);
  throw new Error("the disk broke");
}

function flipped(bytes: Uint8Array, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}

async function content(bytes: Uint8Array, pieceBytes = MiB): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const piece of decompress(inPieces(bytes, pieceBytes))) parts.push(piece.slice());
  return Buffer.concat(parts);
}

describe("detectCompression()", () => {
  test.each<[string, Compression]>([
    ["1f8b0800", "gzip"],
    ["1f8b0700", "none"],
    ["28b52ffd", "zstd"],
    ["502a4d18", "zstd"],
    ["5f2a4d18", "zstd"],
    ["602a4d18", "none"],
    ["28b52f", "none"],
    ["", "none"],
  ])("takes %s for %s", (head, expected) => {
    expect(detectCompression(Buffer.from(head, "hex"))).toBe(expected);
  });
});

describe("decompress()", () => {
  const whole: readonly (readonly [string, Buffer])[] = [
    ["a plain stream", both],
    ["one gzip member", gzipSync(both)],
    [
      "several gzip members",
      Buffer.concat([first, Buffer.alloc(0), second].map((it) => gzipSync(it))),
    ],
    ["one zstd frame", zstdCompressSync(both)],
    ["several zstd frames", Buffer.concat([zstdCompressSync(first), zstdCompressSync(second)])],
    [
      "zstd frames between skippable ones",
      Buffer.concat([
        skippable,
        zstdCompressSync(first),
        skippable,
        skippable,
        zstdCompressSync(second),
        skippable,
      ]),
    ],
  ];

  test.each(whole)("reads %s", async (_, bytes) => {
    expect((await content(bytes)).equals(both)).toBe(true);
    expect((await content(bytes, 7919)).equals(both)).toBe(true);
  });

  test("reads nothing as nothing", async () => {
    expect((await content(Buffer.alloc(0))).length).toBe(0);
  });

  const gzip = gzipSync(both);
  const zstd = zstdCompressSync(both);
  test.each<[string, Buffer]>([
    ["a cut gzip member", gzip.subarray(0, gzip.length / 2)],
    ["a gzip member without its last byte", gzip.subarray(0, -1)],
    ["a gzip member that ends after its header", gzip.subarray(0, 10)],
    ["a second gzip member cut in its header", Buffer.concat([gzip, gzip.subarray(0, 5)])],
    ["a wrong gzip checksum", flipped(gzip, gzip.length - 6)],
    ["something behind a gzip member", Buffer.concat([gzip, Buffer.from("junk")])],
    ["zeros behind a gzip member", Buffer.concat([gzip, Buffer.alloc(20)])],
    ["a gzip member behind zeros", Buffer.concat([gzip, Buffer.alloc(20), gzip])],
    ["a cut zstd frame", zstd.subarray(0, zstd.length / 2)],
    ["a zstd frame without its last byte", zstd.subarray(0, -1)],
    ["a second zstd frame cut in its header", Buffer.concat([zstd, zstd.subarray(0, 6)])],
    ["a cut skippable frame", Buffer.concat([zstd, skippable.subarray(0, 10)])],
    ["something behind a zstd frame", Buffer.concat([zstd, Buffer.from("junk junk")])],
  ])("refuses %s", async (_, bytes) => {
    for (const pieceBytes of [MiB, 7919, 13]) {
      expect(await rejection(content(bytes, pieceBytes))).toEqual(
        expect.objectContaining({ code: "data_loss" }),
      );
    }
  });

  test("fails as its source does", async () => {
    const pieces = decompress(cutByAnError(gzip));
    expect(await rejection(Array.fromAsync(pieces))).toEqual(new Error("the disk broke"));
  });

  test.each([
    ["gzip", gzipSync],
    ["zstd", zstdCompressSync],
  ] as const)("hands a %s bomb out in small pieces", async (_, compress) => {
    let bytes = 0;
    let largest = 0;
    for await (const piece of decompress(inPieces(compress(Buffer.alloc(64 * MiB)), MiB))) {
      bytes += piece.length;
      largest = Math.max(largest, piece.length);
    }
    expect(bytes).toBe(64 * MiB);
    expect(largest).toBeLessThanOrEqual(MiB);
  });

  test.each([gzip, zstd])("has what comes before a failure, then the failure", async (bytes) => {
    using reader = await ContentReader.open(cutByAnError(bytes));
    const target = Buffer.alloc(both.length);
    const count = await reader.read(target);
    expect(count).toBeGreaterThan(0);
    expect(both.subarray(0, count).equals(target.subarray(0, count))).toBe(true);
    expect(await rejection(reader.read(target))).toEqual(new Error("the disk broke"));
  });

  test("lets its reader stop early", async () => {
    for await (const piece of decompress(inPieces(gzip, 100))) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
  });
});

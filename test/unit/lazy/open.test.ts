import { describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { annotation, lazyClaim } from "../../../src/lazy/annotations.ts";
import { makeEstargzFooter, parseEstargzFooter } from "../../../src/lazy/estargz/footer.ts";
import { tocBytesMax } from "../../../src/lazy/limits.ts";
import { formatOfFooter, readLazyLayer, tocRange } from "../../../src/lazy/open.ts";
import { parseZstdFooter } from "../../../src/lazy/zstd-chunked/footer.ts";
import { KiB } from "../../../src/util/bytes.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import {
  estargzEnd,
  fileRow,
  someDigest,
  tocJson,
  tocOffset,
} from "../../support/lazy/make-toc.ts";
import { rejection } from "../../support/rejection.ts";

/** Written by Go's compress/gzip for a table at byte 0x1234 (estargz/gzip.go, legacy writer). */
const legacyFooter = Buffer.concat([
  Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 22, 0]),
  Buffer.from("0000000000001234STARGZ"),
  Buffer.from([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]),
]);
const externalFooter = Buffer.concat([
  Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 21, 0]),
  Buffer.from("SG\x11\0STARGZEXTERNALTOC"),
  Buffer.from([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]),
]);

function zstdFooter(numbers: readonly number[], magic: string): Buffer {
  const payload = Buffer.alloc(8 * numbers.length);
  for (const [index, number] of numbers.entries()) {
    payload.writeBigUInt64LE(BigInt(number), 8 * index);
  }
  const header = Buffer.from([0x50, 0x2a, 0x4d, 0x18, payload.length + 8, 0, 0, 0]);
  return Buffer.concat([header, payload, Buffer.from(magic)]);
}

const containersFooter = zstdFooter([1000, 200, 900, 1, 1208, 5, 9], "GNUlInUx");
const stargzFooter = zstdFooter([1000, 200, 900, 1], "GnUlInUx");

describe("footers", () => {
  test("eStargz, and stargz before it", () => {
    const footer = makeEstargzFooter(0x1234);
    expect(footer.length).toBe(51);
    const toc = { offsetBytes: 0x1234, lengthBytes: 20_000 - 51 - 0x1234 };
    expect(parseEstargzFooter(Buffer.concat([Buffer.alloc(30), footer]), 20_000)).toEqual({ toc });
    expect(parseEstargzFooter(legacyFooter, 20_000)?.toc.lengthBytes).toBe(20_000 - 47 - 0x1234);
  });

  test("both dialects of zstd:chunked", () => {
    const place = { offsetBytes: 1000, lengthBytes: 200, uncompressedBytes: 900 };
    expect(parseZstdFooter(containersFooter, 5000)).toEqual(place);
    expect(parseZstdFooter(Buffer.concat([Buffer.alloc(24), stargzFooter]), 5000)).toEqual(place);
  });

  test("tell the format", () => {
    expect(formatOfFooter(makeEstargzFooter(5), 5000)).toBe("estargz");
    expect(formatOfFooter(stargzFooter, 5000)).toBe("zstd-chunked");
    expect(formatOfFooter(Buffer.alloc(72), 5000)).toBeUndefined();
    expect(formatOfFooter(Buffer.alloc(3), 3)).toBeUndefined();
  });

  test("that lead out of the blob, or to another one, are refused", () => {
    expect(() => parseEstargzFooter(makeEstargzFooter(5000), 5000)).toThrow("eStargz footer");
    expect(() => parseEstargzFooter(externalFooter, 5000)).toThrow("in another blob");
    expect(() => parseZstdFooter(containersFooter, 1100)).toThrow("zstd:chunked footer");
    const other = zstdFooter([1000, 200, 900, 2], "GnUlInUx");
    expect(() => parseZstdFooter(other, 5000)).toThrow("zstd:chunked footer");
  });
});

describe("lazyClaim", () => {
  test("knows the annotations of all dialects", () => {
    const position = "1000:200:900:1";
    const containers = {
      [annotation.zstdTocDigest]: someDigest,
      [annotation.zstdTocPosition]: position,
    };
    const stargz = {
      [annotation.estargzTocDigest]: sha256Digest(Buffer.from("json")),
      [annotation.stargzZstdTocDigest]: someDigest,
      [annotation.stargzZstdTocPosition]: position,
    };
    const place = { offsetBytes: 1000, lengthBytes: 200, uncompressedBytes: 900 };
    const claim = { format: "zstd-chunked" as const, tocDigest: someDigest, place };
    expect(lazyClaim(containers)).toEqual(claim);
    expect(lazyClaim(stargz)).toEqual(claim);
    expect(lazyClaim({ [annotation.estargzTocDigest]: someDigest })?.format).toBe("estargz");
    expect(lazyClaim({ other: "annotation" })).toBeUndefined();
  });

  test("refuses what contradicts itself or does not parse", () => {
    const both = {
      [annotation.zstdTocDigest]: someDigest,
      [annotation.estargzTocDigest]: someDigest,
    };
    expect(() => lazyClaim(both)).toThrow("two formats");
    expect(() => lazyClaim({ [annotation.estargzTocDigest]: "sha256:1" })).toThrow("digest");
    const place = { [annotation.zstdTocDigest]: someDigest, [annotation.zstdTocPosition]: "1:2" };
    expect(() => lazyClaim(place)).toThrow('"1:2"');
  });
});

describe("readLazyLayer", () => {
  test("takes a table only with the digest it was claimed with", async () => {
    const { bytes, digest } = estargzEnd(tocJson([fileRow("a", 500)]));
    const claim = { format: "estargz", tocDigest: digest } as const;
    const range = tocRange(claim, tocOffset + bytes.length, bytes.subarray(-51));
    const toc = bytes.subarray(0, range.lengthBytes);
    expect((await readLazyLayer(claim, range, toc)).entries).toHaveLength(1);
    expect((await readLazyLayer({ format: "estargz" }, range, toc)).entries).toHaveLength(1);
    const other = { ...claim, tocDigest: someDigest };
    expect(await rejection(readLazyLayer(other, range, toc))).toMatchObject({ code: "data_loss" });
  });

  test("a blob without a footer, or a table beyond its end, is refused", () => {
    const refusal = expect.objectContaining({ code: "data_loss" }) as Error;
    expect(() => tocRange({ format: "estargz" }, 500, Buffer.alloc(72))).toThrow(refusal);
    const place = { offsetBytes: 400, lengthBytes: 200, uncompressedBytes: 900 };
    expect(() => tocRange({ format: "zstd-chunked", place }, 500)).toThrow(refusal);
    const large = { ...place, lengthBytes: 2 ** 40 };
    const tooLarge = expect.objectContaining({ code: "resource_exhausted" }) as Error;
    expect(() => tocRange({ format: "zstd-chunked", place: large }, 2 ** 42)).toThrow(tooLarge);
  });

  test("a table that is small only as long as it is compressed is refused", async () => {
    const zeros = Buffer.alloc(tocBytesMax + 100 * KiB);
    const tooLarge = { code: "resource_exhausted" };
    const gzip = gzipSync(zeros, { level: 1 });
    const range = { offsetBytes: tocOffset, lengthBytes: gzip.length };
    expect(await rejection(readLazyLayer({ format: "estargz" }, range, gzip))).toMatchObject(
      tooLarge,
    );
    const zstd = zstdCompressSync(zeros);
    const read = async () => readLazyLayer({ format: "zstd-chunked" }, range, zstd);
    expect(await rejection(read())).toMatchObject(tooLarge);
  });
});

import { describe, expect, test } from "bun:test";
import { tocEntriesMax, tocEntryBytesMax } from "../../../src/lazy/limits.ts";
import type { LazyLayer } from "../../../src/lazy/model.ts";
import { parseToc } from "../../../src/lazy/toc.ts";
import { TiB } from "../../../src/util/bytes.ts";
import { fileRow, type Row, someDigest, tocJson, tocOffset } from "../../support/lazy/make-toc.ts";

function parse(...entries: readonly unknown[]): LazyLayer {
  return parseToc(tocJson(entries), "zstd-chunked", tocOffset);
}

const chunk = (chunkOffset: number, more: Row = {}): Row => ({
  type: "chunk",
  name: "a",
  chunkOffset,
  chunkSize: 10,
  offset: 600 + chunkOffset,
  chunkDigest: someDigest,
  ...more,
});
const start: Row = { ...fileRow("a", 500, 30), chunkSize: 10 };

describe("parseToc", () => {
  test("a chunk ends where the next one begins, at the latest at the table", () => {
    const { entries } = parse(fileRow("b", 99_000), fileRow("a", 500), fileRow("c", 700));
    const sources = entries.map(({ chunks }) => chunks[0]?.source);
    expect(sources.map((source) => source?.compressedBytes)).toEqual([1000, 200, 65_556]);
  });

  test("chunks that share a member keep their place in it", () => {
    const { entries } = parse(fileRow("a", 500), { ...fileRow("b", 500), innerOffset: 512 });
    expect(entries[1]?.chunks[0]?.source).toMatchObject({
      blobOffsetBytes: 500,
      innerOffsetBytes: 512,
    });
  });

  test("a file ends where its row says, and zeros are nowhere", () => {
    const rows = [{ ...start, endOffset: 650 }, chunk(10, { chunkType: "zeros" }), chunk(20)];
    const { chunks } = parse(...rows).entries[0] ?? { chunks: [] };
    expect(chunks.map(({ fileOffsetBytes }) => fileOffsetBytes)).toEqual([0, 10, 20]);
    expect(chunks[1]?.source).toBeUndefined();
    expect(chunks[2]?.source?.compressedBytes).toBe(30);
  });

  test("what is missing is zero or empty", () => {
    const entry = parse({ type: "dir", name: "d" }).entries[0];
    expect(entry).toMatchObject({ mode: 0, uid: 0, mtimeSeconds: 0, xattrs: [], chunks: [] });
    expect(parseToc(Buffer.from('{"version":1}'), "estargz", 1).entries).toEqual([]);
  });

  test("times before 1970, with fractions and in other zones", () => {
    const times = ["1960-01-01T00:00:00.5Z", "2020-06-01T12:00:00+02:00", "0001-01-01T00:00:00Z"];
    const { entries } = parse(...times.map((modtime) => ({ type: "dir", name: "d", modtime })));
    expect(entries.map((entry) => [entry.mtimeSeconds, entry.mtimeNanoseconds])).toEqual([
      [-315_619_200, 500_000_000],
      [1_591_005_600, 0],
      [0, 0],
    ]);
  });

  test.each<readonly [string, readonly unknown[]]>([
    ["a gap between chunks", [start, chunk(20)]],
    ["chunks that overlap", [start, chunk(5), chunk(20)]],
    ["chunks beyond the file", [start, chunk(10), chunk(20), chunk(30)]],
    ["too few chunks", [start, chunk(10)]],
    ["a chunk of another file", [start, chunk(10, { name: "b" }), chunk(20)]],
    ["a chunk of nothing", [chunk(0)]],
    ["a directory with chunks", [{ type: "dir", name: "a" }, chunk(0)]],
    ["an absurd size", [fileRow("a", 500, 2 ** 60)]],
    ["a negative size", [fileRow("a", 500, -1)]],
    ["a size that is no number", [{ ...fileRow("a", 500), size: "10" }]],
    ["content behind the table", [fileRow("a", tocOffset)]],
    ["content without a place", [fileRow("a", 0)]],
    ["content without a digest", [{ ...fileRow("a", 5), digest: "", chunkDigest: undefined }]],
    ["a digest that is none", [{ ...fileRow("a", 5), chunkDigest: "sha256:00" }]],
    ["an end behind the table", [{ ...fileRow("a", 5), endOffset: tocOffset + 1 }]],
    ["an unknown type", [{ type: "whale", name: "a" }]],
    ["no name", [{ type: "dir" }]],
    ["a name with NUL", [{ type: "dir", name: "a\0" }]],
    ["a name that was no UTF-8", [{ type: "dir", name: "a\ufffd" }]],
    ["half a surrogate pair", [{ type: "dir", name: "a\ud800" }]],
    ["a path of 5000 bytes", [{ type: "dir", name: "a/".repeat(2500) }]],
    ["a time that is none", [{ type: "dir", name: "a", modtime: "2020-02-30T00:00:00Z" }]],
    ["attributes that are no base64", [{ type: "dir", name: "a", xattrs: { "user.a": "?" } }]],
    ["what is no entry", [null]],
  ])("%s is refused", (_, rows) => {
    expect(() => parse(...rows)).toThrow(expect.objectContaining({ code: "data_loss" }) as Error);
  });

  test("what is larger than the limits is refused as such", () => {
    const refusal = expect.objectContaining({ code: "resource_exhausted" }) as Error;
    expect(() => parse(fileRow("a", 500, TiB))).toThrow(refusal);
  });

  const large = `"${"x".repeat(tocEntryBytesMax)}"`;
  test.each([
    ["entries", `"entries":[${"0,".repeat(tocEntriesMax)}0]`, `${tocEntriesMax} entries`],
    ["an entry", `"entries":[{"name":${large}}]`, "an entry of"],
    ["what is beside the entries", `"entries":[],"other":${large}`, "beside its entries"],
    ["what is there instead of entries", `"other":${large}`, "beside its entries"],
  ])("%s without end are refused before they become objects", (_, members, problem) => {
    const json = Buffer.from(`{"version":1,${members}}`);
    expect(() => parseToc(json, "estargz", tocOffset)).toThrow(problem);
  });

  test.each(["", "{", "null", "[]", '{"version":2}', '{"version":1,"entries":{}}', "\xff"])(
    "%p is no table",
    (text) => {
      const json = Buffer.from(text, "latin1");
      expect(() => parseToc(json, "estargz", 1)).toThrow("Cannot read the table of contents");
    },
  );

  test("what is around the entries makes no difference", () => {
    const rows = Array.from({ length: 1500 }, (_, at) => fileRow(`"[]{}\\,é ${at}`, 5 + at));
    const list = JSON.stringify(rows, undefined, 1);
    const expected = parse(...rows).entries;
    expect(expected).toHaveLength(1500);
    for (const text of [
      `{"version":1,"entries":${list}}`,
      ` { "entries" : ${list} , "other" : {"entries":[1]}, "version" : 1 } `,
      `{"other":["]",{"}":"\\\\"}],"version":1,"entries":${list}\n}`,
    ]) {
      expect(parseToc(Buffer.from(text), "zstd-chunked", tocOffset).entries).toEqual(expected);
    }
  });

  const row = JSON.stringify(fileRow("a", 5));
  const batch = Array.from({ length: 512 }, () => row).join();
  test.each([
    `[${row},]`,
    `[,${row}]`,
    `[${batch},]`,
    `[${row} ${row}]`,
    `[${row}`,
    `[${row}}]`,
    `[${row}],"entries":[${row}]`,
    `[],"entr\\u0069es":[${row}]`,
    `[${row}]]`,
    '["',
    "[{]}",
  ])("entries that are no array are refused", (list) => {
    const json = Buffer.from(`{"version":1,"entries":${list}}`);
    expect(() => parseToc(json, "estargz", tocOffset)).toThrow("Cannot read the table");
  });

  test("nesting without end is no table", () => {
    const json = Buffer.from("[".repeat(1_000_000));
    expect(() => parseToc(json, "estargz", 1)).toThrow("Cannot read the table of contents");
  });
});

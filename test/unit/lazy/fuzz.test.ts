import { expect, test } from "bun:test";
import { AppError } from "../../../src/errors.ts";
import { annotation } from "../../../src/lazy/annotations.ts";
import type { LazyFormat, LazyLayer } from "../../../src/lazy/model.ts";
import { footerRange, formatOfFooter, readLazyLayer, tocRange } from "../../../src/lazy/open.ts";
import { parseToc } from "../../../src/lazy/toc.ts";
import { assert } from "../../../src/util/assert.ts";
import { lazyBlob } from "../../support/lazy/lazy-blob.ts";
import { fileRow, someDigest, tocJson, tocOffset } from "../../support/lazy/make-toc.ts";
import { Picker } from "../../support/picker.ts";
import { randomChain } from "../../support/tar/random-layers.ts";
import { rawTar } from "../../support/tar/raw-tar.ts";

/** Together about two seconds. */
const tables = 6000;
const blobs = 1500;

const oddValues = [
  undefined,
  null,
  "",
  "a",
  "../a",
  -1,
  0,
  1,
  10,
  499,
  2 ** 31,
  2 ** 53,
  1e308,
  0.5,
  true,
  [],
  {},
  { "user.a": "YQ==" },
  someDigest,
  "2020-01-01T00:00:00Z",
  "chunk",
  "reg",
  "zeros",
  "\ud800",
] as const;
const keys = [
  "type",
  "name",
  "size",
  "offset",
  "innerOffset",
  "endOffset",
  "chunkOffset",
  "chunkSize",
  "chunkDigest",
  "chunkType",
  "digest",
  "linkName",
  "modtime",
  "xattrs",
  "mode",
  "uid",
  "devMajor",
] as const;

/** What holds for every layer that was read, wherever its table came from. */
function requireSound({ entries }: LazyLayer, endBytes: number): void {
  for (const { chunks, sizeBytes, name } of entries) {
    assert(name.length > 0 && !name.includes("\0"), "a name");
    let position = 0;
    for (const { fileOffsetBytes, sizeBytes: chunkBytes, source } of chunks) {
      assert(fileOffsetBytes === position && chunkBytes > 0, "chunks follow each other");
      position += chunkBytes;
      if (source === undefined) continue;
      const end = source.blobOffsetBytes + source.compressedBytes;
      assert(source.compressedBytes > 0 && end <= endBytes, "a chunk lies before the table");
      assert(source.sha256.length === 32, "a digest");
    }
    assert(position === (chunks.length === 0 ? 0 : sizeBytes), "chunks are all of the file");
  }
}

/** Undefined for a layer that is sound, or a refusal that is typed; else what is wrong. */
async function problemOf(read: () => Promise<void> | void): Promise<string | undefined> {
  try {
    await read();
    return undefined;
  } catch (error) {
    return error instanceof AppError ? undefined : String(error);
  }
}

function damagedRows(picker: Picker): Record<string, unknown>[] {
  const rows: Record<string, unknown>[] = [
    { ...fileRow("a", 500, 20), chunkSize: 10 },
    { type: "chunk", name: "a", chunkOffset: 10, offset: 600, chunkDigest: someDigest },
    { ...fileRow("b", 700), endOffset: 800 },
    { type: "dir", name: "d", mode: 0o755 },
    { type: "hardlink", name: "d/l", linkName: "a" },
    { type: "reg", name: ".prefetch.landmark", size: 1, offset: 900, digest: someDigest },
  ];
  for (let count = 1 + picker.integer(3); count > 0; count--) {
    const row = rows[picker.integer(rows.length)] ?? {};
    row[picker.oneOf(keys) ?? ""] = picker.oneOf(oddValues);
    if (picker.integer(8) === 0) rows.splice(picker.integer(rows.length), 1, { ...row });
  }
  return rows;
}

test("damaged tables of contents give a sound layer or a typed error", async () => {
  for (let index = 0; index < tables; index++) {
    const json = tocJson(damagedRows(new Picker(`table ${index}`)));
    const read = () => requireSound(parseToc(json, "estargz", tocOffset), tocOffset);
    expect(`${index}: ${await problemOf(read)}`).toBe(`${index}: undefined`);
  }
}, 120_000);

async function readDamaged(bytes: Buffer, format: LazyFormat): Promise<void> {
  const range = footerRange(bytes.length);
  const footer = bytes.subarray(range.offsetBytes);
  formatOfFooter(footer, bytes.length);
  const toc = tocRange({ format }, bytes.length, footer);
  const table = bytes.subarray(toc.offsetBytes, toc.offsetBytes + toc.lengthBytes);
  requireSound(await readLazyLayer({ format }, toc, table), toc.offsetBytes);
}

/** The blob with some bytes changed, most of them near its end, or cut off. */
function damagedBlob(original: Buffer, picker: Picker): Buffer {
  const bytes = Buffer.from(original);
  for (let count = 1 + picker.integer(4); count > 0; count--) {
    const reach = picker.integer(2) === 0 ? 120 : bytes.length;
    const at = bytes.length - 1 - picker.integer(Math.min(reach, bytes.length));
    bytes[at] = picker.integer(256);
  }
  return picker.integer(10) === 0 ? bytes.subarray(picker.integer(bytes.length)) : bytes;
}

test("damaged blobs give a sound layer or a typed error", async () => {
  const tar = rawTar([
    { name: "a", content: "content".repeat(99) },
    { name: "b", content: "b" },
  ]);
  for (const format of ["estargz", "zstd-chunked"] as const) {
    const { bytes } = await lazyBlob(tar, format);
    for (let index = 0; index < blobs; index++) {
      const damaged = damagedBlob(bytes, new Picker(`${format} ${index}`));
      const problem = await problemOf(() => readDamaged(damaged, format));
      expect(`${format} ${index}: ${problem}`).toBe(`${format} ${index}: undefined`);
    }
  }
}, 120_000);

test("random layers become lazy, or are refused with a typed error", async () => {
  for (let index = 0; index < 60; index++) {
    for (const tar of randomChain(`lazy ${index}`)) {
      const wanted = index % 2 === 0 ? [] : ["a", "b/c", "d/e"];
      const problem = await problemOf(async () => {
        const { annotations } = await lazyBlob(tar, "estargz", wanted);
        assert(annotation.estargzTocDigest in annotations, "an annotation");
      });
      expect(`${index}: ${problem}`).toBe(`${index}: undefined`);
    }
  }
}, 120_000);

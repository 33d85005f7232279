import { describe, expect, test } from "bun:test";
import { readToc } from "../../../src/claim/toc-ranges.ts";
import { lazyClaim } from "../../../src/lazy/annotations.ts";
import type { BlobRange, LazyFormat } from "../../../src/lazy/model.ts";
import { readLazyLayer, type TocClaim } from "../../../src/lazy/open.ts";
import { lazyBlob, type MemoryBlob } from "../../support/lazy/lazy-blob.ts";
import { randomBytes } from "../../support/random.ts";
import { rawTar } from "../../support/tar/raw-tar.ts";
import { makeBlob } from "./fakes.ts";

const always = async (sizeBytes: number) => sizeBytes > 0;

async function readFrom(blob: MemoryBlob, claim: TocClaim | undefined, admit = always) {
  const reads: BlobRange[] = [];
  const read = async (range: BlobRange) => {
    reads.push(range);
    return blob.bytes.subarray(range.offsetBytes, range.offsetBytes + range.lengthBytes);
  };
  return { table: await readToc(blob.sizeBytes, claim, read, admit), reads };
}

/** A layer of many files of a few bytes: the table is the most of it. */
function manyFiles(format: LazyFormat): Promise<MemoryBlob> {
  const names = Array.from({ length: 3000 }, (_, index) => `file-${index * 7919}`);
  return lazyBlob(rawTar(names.map((name) => ({ name, content: name }))), format);
}

describe("readToc()", () => {
  test("needs one request for a small table, by the footer or by the annotation", async () => {
    const estargz = await makeBlob("a");
    const byFooter = await readFrom(estargz, lazyClaim(estargz.annotations));
    expect(byFooter.reads).toEqual([{ offsetBytes: 0, lengthBytes: estargz.sizeBytes }]);
    const zstd = await makeBlob("a", "zstd-chunked");
    const claim = lazyClaim(zstd.annotations);
    const byPlace = await readFrom(zstd, claim);
    const { offsetBytes, lengthBytes } = claim!.place!;
    expect(byPlace.reads).toEqual([{ offsetBytes, lengthBytes }]);
  });

  test.each<LazyFormat>(["estargz", "zstd-chunked"])(
    "reads a right table of %s",
    async (format) => {
      for (const blob of [await makeBlob("a", format), await manyFiles(format)]) {
        const { table } = await readFrom(blob, lazyClaim(blob.annotations));
        if (typeof table === "string") throw new Error(table);
        const layer = await readLazyLayer(table.claim, table.range, table.toc);
        expect(layer.entries.length).toBeGreaterThan(0);
      }
    },
  );

  test("reads no byte twice of a table that is larger than the end it guessed", async () => {
    const blob = await manyFiles("estargz");
    const { reads } = await readFrom(blob, lazyClaim(blob.annotations));
    const [tail, head] = reads;
    expect(reads).toHaveLength(2);
    expect(tail?.lengthBytes).toBe(8 * 1024);
    expect(head!.offsetBytes + head!.lengthBytes).toBe(tail!.offsetBytes);
  });

  test("reads a table that lies before the end it guessed, by itself", async () => {
    const blob = await makeBlob("a", "zstd-chunked");
    const more = { ...blob, bytes: Buffer.concat([blob.bytes, randomBytes("tail", 100_000)]) };
    // A footer may name any place; of what comes behind it nothing is known.
    more.bytes.set(blob.bytes.subarray(-72), more.bytes.length - 72);
    const found = await readFrom(
      { ...more, sizeBytes: more.bytes.length },
      { format: "zstd-chunked" },
    );
    const { offsetBytes, lengthBytes } = lazyClaim(blob.annotations)!.place!;
    expect(found.table).toMatchObject({ range: { offsetBytes, lengthBytes } });
    expect(found.reads).toHaveLength(2);
  });

  test("finds the format in the footer where nothing is claimed", async () => {
    for (const format of ["estargz", "zstd-chunked"] as const) {
      const { table } = await readFrom(await makeBlob("a", format), undefined);
      expect(table).toMatchObject({ claim: { format } });
    }
    const bytes = randomBytes("no footer", 1000);
    const blob = { ...(await makeBlob("a")), bytes, sizeBytes: bytes.length };
    expect((await readFrom(blob, undefined)).table).toBe("absent");
    const empty = { ...blob, bytes: Buffer.alloc(0), sizeBytes: 0 };
    expect((await readFrom(empty, undefined)).table).toBe("absent");
  });

  test("reads no table that is not admitted", async () => {
    const blob = await manyFiles("zstd-chunked");
    const sizes: number[] = [];
    const refuse = async (sizeBytes: number) => {
      sizes.push(sizeBytes);
      return false;
    };
    const claim = lazyClaim(blob.annotations);
    expect(await readFrom(blob, claim, refuse)).toEqual({ table: "refused", reads: [] });
    expect(sizes).toEqual([claim!.place!.lengthBytes]);
  });
});

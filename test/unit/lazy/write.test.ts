import { describe, expect, test } from "bun:test";
import { tocBytesMax } from "../../../src/lazy/limits.ts";
import type { LazyFormat } from "../../../src/lazy/model.ts";
import { noPrefetchLandmark } from "../../../src/lazy/special-files.ts";
import { landmarkParts } from "../../../src/lazy/write/landmark.ts";
import { LayerWriter } from "../../../src/lazy/write/layer-writer.ts";
import { TarSplitBuilder } from "../../../src/lazy/zstd-chunked/tar-split.ts";
import { displayName } from "../../../src/util/byte-string.ts";
import { MiB, toHex } from "../../../src/util/bytes.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import { hardCaseLayers } from "../../support/image/hard-cases.ts";
import { writeTar } from "../../support/image/tar.ts";
import { factsOfLazy, factsOfTar, type EntryFacts } from "../../support/lazy/entry-facts.ts";
import { decompressAll, lazyBlob, readLazy } from "../../support/lazy/lazy-blob.ts";
import { randomBytes } from "../../support/random.ts";
import { rejection } from "../../support/rejection.ts";
import { type RawEntry, rawTar } from "../../support/tar/raw-tar.ts";

const formats: readonly LazyFormat[] = ["estargz", "zstd-chunked"];

function hashOf(content: string | Uint8Array): string {
  return toHex(Bun.SHA256.hash(content) as Uint8Array);
}

const name = (facts: EntryFacts) => displayName(facts.entry.name);

/** All layers of the hard cases, without what a table of contents cannot say. */
function hardTars(): Buffer[] {
  return hardCaseLayers().map((layer) =>
    writeTar(layer.filter(({ path }) => !path.includes("latin1-\xe9"))),
  );
}

const files: RawEntry[] = [
  { name: "./", flag: "5", mode: 0o755 },
  { name: "big", content: randomBytes("big", 9 * MiB + 5) },
  { name: "dir/", flag: "5", mode: 0o755 },
  { name: "dir/first", content: "first" },
  { name: "dir/link", flag: "1", linkName: "dir/first" },
  { name: "dir/sym", flag: "2", linkName: "first" },
  { name: "last", content: "last", pax: { mtime: "-1.25", atime: "5.5", ctime: "7" } },
];

describe("a layer written in either format", () => {
  test.each(formats)("%s: the table of contents says what the tar says", async (format) => {
    for (const tar of [...hardTars(), rawTar(files), rawTar([])]) {
      const blob = await lazyBlob(tar, format);
      const layer = await readLazy(blob.bytes, blob.annotations);
      expect(layer.format).toBe(format);
      expect(factsOfLazy(blob.bytes, layer.entries)).toEqual(await factsOfTar(tar));
    }
  });

  test.each(formats)("%s: the blob decompresses to the tar of its diff ID", async (format) => {
    for (const tar of [...hardTars(), rawTar(files)]) {
      const blob = await lazyBlob(tar, format);
      const unpacked = decompressAll(blob.bytes);
      expect(sha256Digest(unpacked)).toBe(blob.diffId);
      expect(unpacked.length).toBe(blob.tarBytes);
      expect(await factsOfTar(unpacked)).toEqual(await factsOfTar(tar));
      expect(sha256Digest(blob.bytes)).toBe(blob.digest);
      expect(blob.bytes.length).toBe(blob.sizeBytes);
      if (format === "zstd-chunked") expect(unpacked.equals(tar)).toBe(true);
    }
  });

  test.each(formats)("%s: the same tar makes the same blob", async (format) => {
    const [first, second] = [
      await lazyBlob(rawTar(files), format),
      await lazyBlob(rawTar(files), format),
    ];
    expect(first.digest).toBe(second.digest);
  });

  test.each(formats)("%s: content is cut in chunks of 4 MiB", async (format) => {
    const { bytes, annotations } = await lazyBlob(rawTar(files), format);
    const { entries } = await readLazy(bytes, annotations);
    const chunks = entries[1]?.chunks.map(({ sizeBytes }) => sizeBytes);
    expect(chunks).toEqual([4 * MiB, 4 * MiB, MiB + 5]);
  });

  test.each(formats)("%s: a layer made of a lazy one is the same layer", async (format) => {
    const first = await lazyBlob(rawTar(files), "estargz");
    const again = await lazyBlob(decompressAll(first.bytes), format);
    if (format === "estargz") expect(again.digest).toBe(first.digest);
    else expect(again.diffId).toBe(first.diffId);
  });

  test.each(formats)("%s: what a table cannot say is refused", async (format) => {
    const refused: RawEntry[][] = [
      [{ name: "a\xff", content: "x" }],
      [{ name: "a\xef\xbf\xbd", content: "x" }],
      [{ name: "a", flag: "2", linkName: "\xe9" }],
      [{ name: "a", flag: "V" }],
      [
        { name: "a", content: "1" },
        { name: "./a", content: "2" },
      ],
      [{ name: "a", content: "x", pax: { "SCHILY.xattr.user.\xff": "x" } }],
      [{ name: "a", content: "x", pax: { mtime: "300000000000" } }],
      [
        {
          name: "a",
          content: "ab",
          pax: {
            "GNU.sparse.map": "1,2",
            "GNU.sparse.size": "9",
            "GNU.sparse.numblocks": "1",
            "GNU.sparse.major": "0",
            "GNU.sparse.minor": "1",
          },
        },
      ],
    ];
    for (const entries of refused) {
      const error = await rejection(lazyBlob(rawTar(entries), format));
      expect(error).toMatchObject({ code: "unimplemented" });
    }
  });

  test("eStargz has a digest for every chunk, which its reference reader wants", async () => {
    const blob = await lazyBlob(rawTar(files), "estargz");
    const unpacked = decompressAll(blob.bytes).toString("latin1");
    const json = /\{"version":1,.*\}/.exec(unpacked)?.[0] ?? "";
    const { entries } = JSON.parse(json) as { entries: Record<string, string>[] };
    const chunks = entries.filter(({ type }) => type === "reg" || type === "chunk");
    expect(chunks.filter(({ chunkDigest }) => chunkDigest === undefined)).toEqual([]);
  });

  test("a tar that ends within a file is no tar", async () => {
    const error = await rejection(lazyBlob(rawTar(files).subarray(0, 5000), "estargz"));
    expect(error).toMatchObject({ code: "data_loss" });
  });

  test("eStargz completes a tar that ends without padding", async () => {
    const tar = rawTar([{ name: "a", content: "x" }]).subarray(0, 513);
    const blob = await lazyBlob(tar, "estargz");
    expect((await factsOfTar(decompressAll(blob.bytes))).map(name)).toEqual(["a"]);
  });
});

describe("what is kept in memory has an end", () => {
  const [, entry] = [...landmarkParts(noPrefetchLandmark)];
  if (entry?.kind !== "entry") throw new Error("the landmark has no entry");

  test("a table of contents that grows too large is refused on the way", () => {
    const writer = new LayerWriter(
      "estargz",
      (content) => content,
      () => undefined,
    );
    writer.toc.sizeBytes = tocBytesMax + 1;
    expect(() => writer.addEntry(entry.entry, entry.times)).toThrow("table of contents");
  });

  test("tar-split data that grow too large are refused on the way", async () => {
    const compressed = Buffer.allocUnsafeSlow(tocBytesMax / 2 + 1);
    const builder = new TarSplitBuilder(() => Promise.resolve(compressed));
    const addFrames = async () => {
      for (let frame = 0; frame < 4; frame++) {
        builder.addRaw(Buffer.alloc(4 * MiB));
        // A frame is counted when it is there.
        await Promise.resolve().then(() => undefined);
      }
    };
    expect(await rejection(addFrames())).toMatchObject({ code: "unimplemented" });
  });
});

describe("prioritized files", () => {
  test.each(formats)("%s: go first with what they need, before the landmark", async (format) => {
    const wanted = ["last", "dir/link"];
    const { bytes, annotations } = await lazyBlob(rawTar(files), format, wanted);
    const layer = await readLazy(bytes, annotations);
    const names = layer.entries.map((entry) => displayName(entry.name));
    expect(names).toEqual(["last", "dir/", "dir/first", "dir/link", "./", "big", "dir/sym"]);
    const { prefetch } = layer;
    if (prefetch.kind !== "range") throw new Error(`the layer says ${prefetch.kind}`);
    for (const [index, { chunks }] of layer.entries.entries()) {
      for (const { source } of chunks) {
        expect((source?.blobOffsetBytes ?? 0) < prefetch.endBytes).toBe(index < 4);
      }
    }
  });

  test.each(formats)("%s: the content of a trace goes first, in its order", async (format) => {
    const [big = Buffer.alloc(0)] = files.flatMap(({ name: path, content }) =>
      path === "big" && Buffer.isBuffer(content) ? [content] : [],
    );
    const chunks = [0, 4, 8].map((at) => hashOf(big.subarray(at * MiB, (at + 4) * MiB)));
    const namesOf = async (...traced: string[]) => {
      const { bytes, annotations } = await lazyBlob(rawTar(files), format, [], traced);
      const { entries, prefetch } = await readLazy(bytes, annotations);
      return [prefetch.kind, ...entries.map((entry) => displayName(entry.name))];
    };
    const [last, first] = [hashOf("last"), hashOf("first")];
    const traced = ["last", "dir/", "dir/first", "./", "big", "dir/link", "dir/sym"];
    expect(await namesOf(hashOf("nothing"), last, first)).toEqual(["range", ...traced]);
    // A file of three chunks goes first for two of them.
    const order = files.map(({ name: path }) => path);
    expect((await namesOf(chunks[1]!)).slice(1)).toEqual(order);
    expect((await namesOf(last, chunks[2]!, chunks[0]!)).slice(1, 3)).toEqual(["last", "big"]);
  });

  test("what cannot be moved stays where it is", async () => {
    const entries: RawEntry[] = [
      { name: "real/", flag: "5", mode: 0o755 },
      { name: "way", flag: "2", linkName: "real" },
      { name: "way/file", content: "1" },
      { name: "loop", flag: "1", linkName: "loop" },
      { name: ".wh.gone", content: "" },
      { name: "gone", content: "2" },
    ];
    const wanted = ["way/file", "loop", "gone", ".wh.gone", "missing"];
    const { bytes, annotations } = await lazyBlob(rawTar(entries), "estargz", wanted);
    const layer = await readLazy(bytes, annotations);
    expect(layer.prefetch.kind).toBe("nothing");
    const expected = entries.map((entry) => entry.name);
    expect(layer.entries.map((entry) => displayName(entry.name))).toEqual(expected);
  });

  test("hard links to hard links end somewhere", async () => {
    const links = Array.from({ length: 100 }, (_, index) => ({
      name: `link-${index + 1}`,
      flag: "1",
      linkName: `link-${index}`,
    }));
    const tar = rawTar([{ name: "link-0", content: "x" }, ...links]);
    const { bytes, annotations } = await lazyBlob(tar, "estargz", ["link-100"]);
    expect((await readLazy(bytes, annotations)).prefetch.kind).toBe("nothing");
  });

  test("a layer without any has a landmark that says so", async () => {
    const { bytes, annotations } = await lazyBlob(rawTar(files), "estargz");
    expect((await readLazy(bytes, annotations)).prefetch).toEqual({ kind: "nothing" });
  });
});

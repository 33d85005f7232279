import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Database } from "bun:sqlite";
import { join } from "node:path";
import { scratchFolder, type ScratchFolder } from "../../../scripts/lib/temp.ts";
import type { ChunkedContent } from "../../../src/erofs/tree.ts";
import { LazySource } from "../../../src/layer/lazy-source.ts";
import { buildEntryTree, type TarTree } from "../../../src/layer/tar-tree.ts";
import { parseToc } from "../../../src/lazy/toc.ts";
import { unknownLower } from "../../../src/layer/tar-lower.ts";
import { ChunkTable } from "../../../src/store/chunk-table.ts";
import { openIndex } from "../../../src/store/index-database.ts";
import { placeOf } from "../../../src/store/layout.ts";
import { defined } from "../../../src/util/assert.ts";
import { byteStringOfText } from "../../../src/util/byte-string.ts";
import { GiB, KiB, MiB } from "../../../src/util/bytes.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import { fileRow, type Row, tocJson, tocOffset } from "../../support/lazy/make-toc.ts";
import { rejection } from "../../support/rejection.ts";

let folder: ScratchFolder;
let database: Database;

beforeEach(() => {
  folder = scratchFolder("unit");
  database = openIndex(join(folder.path, "index.db"));
});

afterEach(() => {
  database.close();
  folder[Symbol.dispose]();
});

const digestOf = (name: string) => sha256Digest(Buffer.from(name));

/** A file in chunks of these sizes; `zeros` are such. */
function chunkedRows(name: string, sizes: readonly (number | "zeros")[], zerosBytes = 0): Row[] {
  const lengths = sizes.map((size) => (size === "zeros" ? zerosBytes : size));
  const size = lengths.reduce((sum, length) => sum + length, 0);
  let chunkOffset = 0;
  return sizes.map((kind, index) => {
    const common = { name, chunkOffset, chunkSize: lengths[index]!, offset: 100 + index };
    chunkOffset += lengths[index]!;
    const content =
      kind === "zeros" ? { chunkType: "zeros" } : { chunkDigest: digestOf(`${name} ${index}`) };
    const first = { type: "reg", size, digest: digestOf(name) };
    return { ...common, ...content, ...(index === 0 ? first : { type: "chunk" }) };
  });
}

/** Puts content into the index without writing it anywhere. */
function know(name: string, sizeBytes: number, block: number, encoding = 0): void {
  const hash = Buffer.from(digestOf(name).slice("sha256:".length), "hex");
  const blocks = Math.ceil(sizeBytes / 4096);
  database
    .query(
      `INSERT INTO chunks (place, sha256, encoding, size_bytes, blocks, extents, uses)
       VALUES (?, ?, ?, ?, ?, NULL, 1)`,
    )
    .run(placeOf(block), hash, encoding, sizeBytes, blocks);
}

interface Built {
  readonly table: ChunkTable;
  readonly source: LazySource;
  readonly tree: TarTree["tree"];
}

async function build(rows: readonly Row[], place: "first" | "upper" = "first"): Promise<Built> {
  const { entries } = parseToc(tocJson(rows), "zstd-chunked", tocOffset);
  const table = new ChunkTable();
  const source = new LazySource(entries, table, { database, algorithm: undefined });
  const lower = place === "first" ? undefined : unknownLower;
  const { tree } = await buildEntryTree(source, { lower });
  return { table, source, tree };
}

function contentOf({ tree }: Built, name: string): ChunkedContent {
  const inode = defined(tree.child(tree.root, byteStringOfText(name)), name);
  return defined(tree.inodes.chunksOf(inode), `the chunks of ${name}`);
}

/** Offset and size of each piece that is missing. */
function piecesOf({ source }: Built): (readonly [number, number])[] {
  return source.layOut().pieces.map((piece) => [piece.packOffsetBytes, piece.sizeBytes]);
}

describe("LazySource", () => {
  test("begins each file at a block, its pieces one behind the other", async () => {
    const first = { ...fileRow("a", 10), ...unique("a") };
    const rows = [first, ...chunkedRows("b", [5000, 3000, 1]), fileRow("c", 30, 4097)];
    const built = await build(rows);
    expect(piecesOf(built)).toEqual([
      [0, 10],
      [4096, 5000],
      [9096, 3000],
      [12_096, 1],
      [12_288, 4097],
    ]);
    expect(contentOf(built, "b")).toMatchObject({ chunkSizeBytes: 8192, chunks: 1 });
  });

  test("fetches no zeros, and keeps their place", async () => {
    const rows = chunkedRows("even", [8 * KiB, "zeros", 8 * KiB, 5], 8 * KiB);
    const built = await build([...rows, ...chunkedRows("hole", ["zeros", "zeros"], GiB)]);
    expect(piecesOf(built)).toEqual([
      [0, 8 * KiB],
      [16 * KiB, 8 * KiB],
      [24 * KiB, 5],
    ]);
    expect(contentOf(built, "hole")).toMatchObject({ chunkSizeBytes: 2 * GiB, chunks: -1 });
  });

  test("refers to what is known, chunk by chunk or as a whole", async () => {
    know("even 1", 64 * KiB, 1000);
    know("odd", 100_000, 2000);
    const rows = [
      ...chunkedRows("even", [64 * KiB, 64 * KiB, 7]),
      ...chunkedRows("odd", [60_000, 40_000]),
    ];
    const built = await build(rows);
    expect(piecesOf(built)).toEqual([
      [0, 64 * KiB],
      [64 * KiB, 7],
    ]);
    expect([...built.table.used()].map((ref) => built.table.isSettled(ref))).toEqual([
      false,
      true,
      false,
      true,
    ]);
    expect(contentOf(built, "odd").chunkSizeBytes).toBe(128 * KiB);
  });

  test("does not believe that known content has another size", async () => {
    know("even 0", 8 * KiB - 1, 1000);
    const built = await build(chunkedRows("even", [8 * KiB, 8 * KiB]));
    expect(piecesOf(built)).toHaveLength(2);
    const twoSizes = [fileRow("a", 10, 10), fileRow("b", 20, 20)];
    const failure = await rejection(build(twoSizes));
    expect(failure).toMatchObject({ code: "data_loss" });
  });

  test("wants nothing that a later entry replaces or deletes", async () => {
    const rows = [
      { ...fileRow("gone", 5, 5000), ...unique("gone") },
      { ...fileRow("twice", 10, 9000), ...unique("first") },
      { ...fileRow("twice", 20, 70), ...unique("second") },
      fileRow(".wh.gone", 30, 0),
    ];
    const built = await build(rows);
    expect(piecesOf(built)).toEqual([[0, 70]]);
    expect(built.source.layOut().blocks).toBe(1);
  });

  test("lays out runs of more than a gigabyte without a gap", async () => {
    const built = await build([
      ...chunkedRows("long", [GiB - 5, GiB - 7, 3 * MiB + 1]),
      fileRow("next", 9),
    ]);
    const content = contentOf(built, "long");
    expect([content.chunkSizeBytes, (content.chunks as Int32Array).length]).toEqual([GiB, 3]);
    const { pieces, blocks } = built.source.layOut();
    expect(pieces.map(({ packOffsetBytes }) => packOffsetBytes).slice(0, 3)).toEqual([
      0,
      GiB - 5,
      2 * GiB - 12,
    ]);
    expect(pieces[3]?.packOffsetBytes).toBe((blocks - 1) * 4096);
  });
});

const unique = (name: string): Row => ({ digest: digestOf(name), chunkDigest: digestOf(name) });

describe("a tree made of a hostile table of contents", () => {
  test.each<readonly [string, readonly Row[], string]>([
    ["a hard link to nothing", [{ type: "hardlink", name: "a", linkName: "b" }], "hard link"],
    ["a name that is too long", [fileRow("n".repeat(256), 5)], "256 bytes"],
    ["a whiteout of nothing", [fileRow(".wh.", 5)], "whiteout"],
    ["a file below a file", [fileRow("a", 5), fileRow("a/b", 9)], "not a directory"],
    ["a symlink to nothing", [{ type: "symlink", name: "a", linkName: "" }], "symlink"],
    ["a chain of symlinks", loop(), "symlinks"],
  ])("is refused: %s", async (_, rows, problem) => {
    const failure = await rejection(build(rows));
    expect(failure).toMatchObject({ code: "invalid_argument" });
    expect(String(failure)).toContain(problem);
    expect(String(failure)).toContain(" at entry ");
  });

  test("has no file outside of it", async () => {
    const built = await build([
      { type: "symlink", name: "up", linkName: "../../.." },
      fileRow("../../escaped", 5),
      fileRow("up/through", 9),
      fileRow("/absolute", 11),
    ]);
    for (const name of ["escaped", "through", "absolute"]) {
      expect(built.tree.child(built.tree.root, byteStringOfText(name))).toBeDefined();
    }
  });

  test("of a layer that lies on others takes nothing from them", async () => {
    const failure = await rejection(
      build([{ type: "hardlink", name: "a", linkName: "b" }], "upper"),
    );
    expect(failure).toMatchObject({ code: "failed_precondition" });
  });
});

function loop(): Row[] {
  return [
    { type: "symlink", name: "a", linkName: "b" },
    { type: "symlink", name: "b", linkName: "a" },
    fileRow("a/file", 5),
  ];
}

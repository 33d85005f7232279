/**
 * Tables of contents with random rows: each gives an error of a known class, or an image in which
 * every chunk lies where its piece will be, or where the node has it.
 */
import { describe, expect, test } from "bun:test";
import type { Database } from "bun:sqlite";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { compressionAlgorithm } from "../../../src/erofs/compression.ts";
import { holeChunk } from "../../../src/erofs/tree.ts";
import { planImage } from "../../../src/erofs/write.ts";
import { AppError } from "../../../src/errors.ts";
import { LazySource, type MissingContent } from "../../../src/layer/lazy-source.ts";
import { buildEntryTree, type TarTree } from "../../../src/layer/tar-tree.ts";
import type { LazyEntry } from "../../../src/lazy/model.ts";
import { parseToc } from "../../../src/lazy/toc.ts";
import { encodePieceMap, PieceMap } from "../../../src/ondemand/piece-map.ts";
import { ChunkTable } from "../../../src/store/chunk-table.ts";
import { openIndex } from "../../../src/store/index-database.ts";
import { blocksFor, blocksOfPack, placeOf } from "../../../src/store/layout.ts";
import { packingOf } from "../../../src/store/packing.ts";
import { defined } from "../../../src/util/assert.ts";
import { KiB } from "../../../src/util/bytes.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import { type Row, tocJson, tocOffset } from "../../support/lazy/make-toc.ts";
import { Picker } from "../../support/picker.ts";

const rounds = 600;
const algorithm = compressionAlgorithm.zstd;
const lazyPack = 512;
const names = ["a", "b", "c", "d", "dir", "dir/a", "dir/b", ".wh.a", "../e", "link/f"];
const sizes = [1, 100, 4095, 4096, 8192, 8192, 16 * KiB, 64 * KiB, 128 * KiB, 300_000];

function digestOf(number: number): string {
  return sha256Digest(Buffer.from(`content ${number}`));
}

/** Content has one size, but for some that lies. */
function sizeOf(content: number): number {
  return sizes[content % sizes.length]!;
}

function randomFile(picker: Picker, name: string): Row[] {
  const even = picker.integer(2) === 0 ? 3 + picker.integer(7) : undefined;
  const count = 1 + picker.integer(4);
  let chunkOffset = 0;
  const rows = Array.from({ length: count }, (_, index): Row => {
    const content = (even ?? picker.integer(10)) + 10 * picker.integer(3);
    const isLie = picker.integer(200) === 0;
    const chunkSize = sizeOf(content) + (isLie ? 1 : 0);
    const offset = 1 + picker.integer(tocOffset - 1);
    const isZero = picker.integer(6) === 0;
    const what = isZero ? { chunkType: "zeros" } : { chunkDigest: digestOf(content) };
    const row = { type: index === 0 ? "reg" : "chunk", name, offset, chunkOffset, chunkSize };
    chunkOffset += chunkSize;
    return { ...row, ...what };
  });
  const digest = picker.integer(2) === 0 ? digestOf(1000 + picker.integer(3)) : undefined;
  return [{ ...rows[0], size: chunkOffset, digest }, ...rows.slice(1)];
}

function randomRows(picker: Picker): Row[] {
  return Array.from({ length: 1 + picker.integer(12) }, () => {
    const name = defined(picker.oneOf(names), "a name");
    const linkName = picker.oneOf(names);
    switch (picker.integer(10)) {
      case 0:
        return [{ type: "dir", name }];
      case 1:
        return [{ type: "hardlink", name, linkName }];
      case 2:
        return [{ type: "symlink", name: "link", linkName }];
      default:
        return randomFile(picker, name);
    }
  }).flat();
}

/** Some content is on the node: as it is, in extents, in a bundle. */
function fillIndex(database: Database): void {
  const chunk = database.query(
    `INSERT INTO chunks (place, sha256, encoding, size_bytes, blocks, extents, uses)
     VALUES (?, ?, ?, ?, ?, ?, 1)`,
  );
  const [start] = [blocksOfPack(1).block];
  database.run("INSERT INTO bundles VALUES (?, 3, 131072, ?)", [start, algorithm]);
  for (const [at, content] of [1, 2, 3].entries()) {
    const place = placeOf(start, at * 20_000);
    chunk.run(place, hashOf(content), algorithm, sizeOf(content), 0, null);
  }
  for (const [at, content] of [4, 5, 17, 18, 29].entries()) {
    const sizeBytes = sizeOf(content);
    const extents = new Uint8Array(Math.ceil(sizeBytes / (128 * KiB))).fill(1);
    const place = placeOf(start + 100 * (at + 1));
    const isRaw = at % 2 === 0;
    const blocks = isRaw ? blocksFor(sizeBytes) : extents.length;
    chunk.run(
      place,
      hashOf(content),
      isRaw ? 0 : algorithm,
      sizeBytes,
      blocks,
      isRaw ? null : extents,
    );
  }
}

function hashOf(content: number): Buffer {
  return Buffer.from(digestOf(content).slice("sha256:".length), "hex");
}

interface Built {
  readonly table: ChunkTable;
  readonly tree: TarTree["tree"];
  readonly missing: MissingContent;
}

async function build(database: Database, entries: readonly LazyEntry[]): Promise<Built> {
  const table = new ChunkTable(algorithm);
  const source = new LazySource(entries, table, { database, algorithm });
  const { tree } = await buildEntryTree(source, {});
  const missing = source.layOut();
  const first = blocksOfPack(lazyPack).block;
  for (const [ref, block] of missing.places) {
    const blocks = blocksFor(table.sizeOf(ref));
    table.settle(
      ref,
      { place: placeOf(first + block), encoding: 0, blocks, extents: null },
      "lazy",
    );
  }
  return { table, tree, missing };
}

/** As the kernel would look for it: the image must be one that can be planned. */
function planned(database: Database, { table, tree }: Built): void {
  const devices = [1, lazyPack].map((packId) => {
    const { block, count } = blocksOfPack(packId);
    return { tag: `${packId}.pack`, blocks: count, uniaddr: block };
  });
  const packing = packingOf(database, table);
  planImage(tree, { devices, blockOf: (ref) => table.blockOf(ref), ...(packing && { packing }) });
}

/** Of each file of the tree, every chunk of the table that is not known is a piece of its place. */
function expectPieces({ table, tree, missing }: Built, entry: LazyEntry): number {
  const inode = tree.child(tree.root, entry.name);
  const content = inode === undefined ? undefined : tree.inodes.chunksOf(inode);
  if (content === undefined) return 0;
  const origin = { format: "estargz", image: "", digest: "", blobBytes: 0, prefetchEndBytes: 0 };
  const bytes = encodePieceMap(
    { ...origin, format: "estargz" },
    missing.pieces,
    missing.blocks * 4096,
  );
  const map = new PieceMap(bytes, "pieces");
  const refs = typeof content.chunks === "number" ? [content.chunks] : [...content.chunks];
  let checked = 0;
  for (const { fileOffsetBytes, sizeBytes, source } of entry.chunks) {
    const ref = defined(refs[Math.floor(fileOffsetBytes / content.chunkSizeBytes)], "a chunk");
    if (ref === holeChunk) {
      expect(source).toBeUndefined();
      continue;
    }
    const block = missing.places.get(ref);
    if (block === undefined) continue;
    const start = block * 4096 + (fileOffsetBytes % content.chunkSizeBytes);
    const [first, end] = map.covering(start, sizeBytes);
    expect(end - first).toBe(source === undefined ? 0 : 1);
    if (source === undefined) continue;
    const piece = map.at(first);
    expect([piece.packOffsetBytes, piece.sizeBytes]).toEqual([start, sizeBytes]);
    // Files of one digest are one file, whatever the table says of their chunks.
    if (table.usesOf(ref) === 1) expect(Buffer.compare(piece.sha256, source.sha256)).toBe(0);
    checked += 1;
  }
  return checked;
}

/** The file that has the name in the end, if nothing else can have changed it. */
function lastFiles(entries: readonly LazyEntry[]): LazyEntry[] {
  const last = new Map(entries.map((entry) => [entry.name, entry]));
  return [...last.values()].filter(({ name, type }) => /^[a-d]$/.test(name) && type === "file");
}

describe("random tables of contents", () => {
  test("give a known error, or chunks that are where they should be", async () => {
    using folder = scratchFolder("unit");
    const database = openIndex(join(folder.path, "index.db"));
    fillIndex(database);
    let [checked, refused] = [0, 0];
    for (let round = 0; round < rounds; round++) {
      const rows = randomRows(new Picker(`lazy ${round}`));
      try {
        const { entries } = parseToc(tocJson(rows), "zstd-chunked", tocOffset);
        const built = await build(database, entries);
        planned(database, built);
        for (const entry of lastFiles(entries)) checked += expectPieces(built, entry);
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        expect(["data_loss", "invalid_argument"]).toContain(error.code);
        refused += 1;
      }
    }
    database.close();
    expect(refused).toBeLessThan(0.7 * rounds);
    expect(checked).toBeGreaterThan(rounds / 2);
  });
});

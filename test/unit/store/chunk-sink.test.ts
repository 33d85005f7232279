import { describe, expect, test } from "bun:test";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { openSync, readSync, closeSync } from "node:fs";
import { holeChunk } from "../../../src/erofs/tree.ts";
import { ChunkSink, chunkUse, isZero } from "../../../src/store/chunk-sink.ts";
import { ChunkTable } from "../../../src/store/chunk-table.ts";
import { openIndex } from "../../../src/store/index-database.ts";
import {
  firstBlockOfPack,
  packBytes,
  packOffsetBytes,
  placeOf,
} from "../../../src/store/layout.ts";
import { PackWriter } from "../../../src/store/pack-writer.ts";
import { packPath, storePaths, type StorePaths } from "../../../src/store/paths.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";

const chunkBytesMax = 1024 * 1024;
const insertChunk = `INSERT INTO chunks (place, sha256, encoding, size_bytes, blocks, uses)
  VALUES (?, ?, 0, ?, ?, 1)`;

class Fixture implements Disposable {
  readonly #folder = scratchFolder("unit");
  readonly paths: StorePaths = storePaths(this.#folder.path);
  readonly database = openIndex(this.paths.indexDatabase);
  readonly table = new ChunkTable();
  readonly reserved: number[] = [];
  readonly #writer = new PackWriter(this.paths);
  readonly sink: ChunkSink;
  #next = firstBlockOfPack(1);

  constructor() {
    mkdirSync(this.paths.packs);
    writeFileSync(packPath(this.paths, 1), "");
    truncateSync(packPath(this.paths, 1), packBytes);
    this.sink = new ChunkSink({
      database: this.database,
      table: this.table,
      writer: this.#writer,
      chunkBytesMax,
      reserve: async (count) => {
        this.reserved.push(count);
        const block = this.#next;
        this.#next += count;
        return block;
      },
    });
  }

  async add(bytes: Uint8Array): Promise<number> {
    (await this.sink.space(bytes.length)).set(bytes);
    return this.sink.put(bytes.length, chunkUse.whole);
  }

  write(block: number, bytes: Uint8Array): void {
    this.#writer.write(block, bytes);
  }

  read(block: number, length: number): Buffer {
    const file = openSync(packPath(this.paths, 1), "r");
    const bytes = Buffer.alloc(length);
    readSync(file, bytes, 0, length, packOffsetBytes(block));
    closeSync(file);
    return bytes;
  }

  [Symbol.dispose](): void {
    this.#writer.close();
    this.database.close();
    this.#folder[Symbol.dispose]();
  }
}

function content(seed: number, length: number): Buffer {
  return Buffer.alloc(length, Buffer.from(`content ${seed} `));
}

describe("ChunkSink", () => {
  test("writes each content once, at block boundaries, padded with zeros", async () => {
    using fixture = new Fixture();
    const refs = [
      await fixture.add(content(1, 5000)),
      await fixture.add(content(2, 100)),
      await fixture.add(content(1, 5000)),
    ];
    await fixture.sink.flush();
    expect(refs).toEqual([0, 1, 0]);
    expect(fixture.table.usesOf(0)).toBe(2);
    expect(fixture.reserved).toEqual([3]);
    const block = fixture.table.blockOf(0);
    expect(fixture.read(block, 5000).equals(content(1, 5000))).toBe(true);
    expect(isZero(fixture.read(block, 8192).subarray(5000))).toBe(true);
    expect(fixture.table.blockOf(1)).toBe(block + 2);
    expect(fixture.read(block + 2, 100).equals(content(2, 100))).toBe(true);
  });

  test("stores zeros nowhere", async () => {
    using fixture = new Fixture();
    expect(await fixture.add(Buffer.alloc(chunkBytesMax))).toBe(holeChunk);
    await fixture.sink.flush();
    expect(fixture.reserved).toEqual([]);
  });

  test("takes the address of content the index has and writes what lies around it", async () => {
    using fixture = new Fixture();
    const known = content(2, 4096);
    const hash = new Bun.CryptoHasher("sha256").update(known).digest();
    fixture.database.query(insertChunk).run(placeOf(firstBlockOfPack(1) + 1000), hash, 4096, 1);
    fixture.write(firstBlockOfPack(1) + 1000, known);
    for (const seed of [1, 2, 3]) await fixture.add(content(seed, 4096));
    await fixture.sink.flush();
    expect(fixture.table.blockOf(1)).toBe(firstBlockOfPack(1) + 1000);
    expect([0, 1, 2].map((ref) => fixture.table.originOf(ref))).toEqual([
      "written",
      "known",
      "written",
    ]);
    expect(fixture.reserved).toEqual([2]);
    expect(fixture.read(fixture.table.blockOf(2), 4096).equals(content(3, 4096))).toBe(true);
  });

  test("goes on when the staging buffer is full", async () => {
    using fixture = new Fixture();
    for (let seed = 0; seed < 9; seed++) await fixture.add(content(seed, chunkBytesMax));
    await fixture.sink.flush();
    for (let seed = 0; seed < 9; seed++) {
      const found = fixture.read(fixture.table.blockOf(seed), chunkBytesMax);
      expect(found.equals(content(seed, chunkBytesMax))).toBe(true);
    }
  });

  test("writes content again that the index has but the pack has lost", async () => {
    using fixture = new Fixture();
    const lost = content(7, 5000);
    const block = firstBlockOfPack(1) + 1000;
    const hash = new Bun.CryptoHasher("sha256").update(lost).digest();
    fixture.database.query(insertChunk).run(placeOf(block), hash, lost.length, 2);
    await fixture.add(lost);
    await fixture.sink.flush();
    expect(fixture.sink.restoredChunks).toBe(1);
    expect(fixture.read(block, lost.length).equals(lost)).toBe(true);
  });

  test("rejects with the pack's name when the pack cannot be written", async () => {
    using fixture = new Fixture();
    const writer = new PackWriter({ ...fixture.paths, packs: "/nonexistent" });
    expect(() => writer.write(firstBlockOfPack(1), content(1, 4096))).toThrow("1.pack");
  });
});

describe("isZero()", () => {
  test.each([1, 4095, 65_536, 65_537, 200_000])("sees a last byte that is not in %p", (length) => {
    const bytes = Buffer.alloc(length);
    expect(isZero(bytes)).toBe(true);
    bytes[length - 1] = 1;
    expect(isZero(bytes)).toBe(false);
  });
});

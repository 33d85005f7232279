import { describe, expect, test } from "bun:test";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { openSync, readSync, closeSync } from "node:fs";
import { compressionAlgorithm, extentBytesMax } from "../../../src/erofs/compression.ts";
import { decodeExtent, type ExtentCodec } from "../../../src/erofs/extent-codec.ts";
import { holeChunk } from "../../../src/erofs/tree.ts";
import { ChunkSink, chunkUse, isZero } from "../../../src/store/chunk-sink.ts";
import { ChunkTable } from "../../../src/store/chunk-table.ts";
import { openIndex } from "../../../src/store/index-database.ts";
import {
  firstBlockOfPack,
  packBytesOf,
  packOffsetBytes,
  placeOf,
} from "../../../src/store/layout.ts";
import { PackWriter } from "../../../src/store/pack-writer.ts";
import { packPath, storePaths, type StorePaths } from "../../../src/store/paths.ts";
import { describeError } from "../../../src/errors.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { randomBytes } from "../../support/random.ts";
import { rejection } from "../../support/rejection.ts";

const chunkBytesMax = 1024 * 1024;
const insertChunk = `INSERT INTO chunks (place, sha256, encoding, size_bytes, blocks, uses)
  VALUES (?, ?, 0, ?, ?, 1)`;

class Fixture implements Disposable {
  readonly #folder = scratchFolder("unit");
  readonly paths: StorePaths = storePaths(this.#folder.path);
  readonly database = openIndex(this.paths.indexDatabase);
  readonly table: ChunkTable;
  readonly reserved: number[] = [];
  failure: Error | undefined;
  readonly #writer: PackWriter;
  readonly sink: ChunkSink;
  #next = firstBlockOfPack(1);

  constructor(codec?: ExtentCodec, Writer = PackWriter) {
    this.table = new ChunkTable(codec?.algorithm);
    this.#writer = new Writer(this.paths);
    mkdirSync(this.paths.packs);
    writeFileSync(packPath(this.paths, 1), "");
    truncateSync(packPath(this.paths, 1), packBytesOf(1));
    this.sink = new ChunkSink({
      database: this.database,
      table: this.table,
      writer: this.#writer,
      chunkBytesMax,
      codec,
      reserve: async (count) => {
        if (this.failure !== undefined) throw this.failure;
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
    this.#writer.restore(block, bytes);
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

  test("writes content anew that is deleted just when it was found", async () => {
    const block = firstBlockOfPack(1) + 1000;
    // As the housekeeper: first the row goes, then the content.
    class LateWriter extends PackWriter {
      override isAllocated(): boolean {
        fixture.database.run("DELETE FROM chunks");
        return false;
      }
    }
    using fixture: Fixture = new Fixture(undefined, LateWriter);
    const dying = content(7, 5000);
    const hash = new Bun.CryptoHasher("sha256").update(dying).digest();
    fixture.database.query(insertChunk).run(placeOf(block), hash, dying.length, 2);
    await fixture.add(dying);
    await fixture.sink.flush();
    expect(fixture.sink.restoredChunks).toBe(0);
    expect(fixture.table.originOf(0)).toBe("written");
    expect(isZero(fixture.read(block, 8192))).toBe(true);
    expect(fixture.read(fixture.table.blockOf(0), dying.length).equals(dying)).toBe(true);
  });

  test("rejects with the pack's name when the pack cannot be written", async () => {
    using fixture = new Fixture();
    const writer = new PackWriter({ ...fixture.paths, packs: "/nonexistent" });
    const failure = await rejection(writer.write(firstBlockOfPack(1), [content(1, 4096)]));
    expect(describeError(failure)).toContain("1.pack");
  });
});

describe("ChunkSink with compression", () => {
  const codec = { algorithm: compressionAlgorithm.zstd, level: 3 };

  test("puts small chunks in one bundle and cuts large ones in extents", async () => {
    using fixture = new Fixture(codec);
    await fixture.add(content(1, 5000));
    await fixture.add(content(2, 700));
    await fixture.add(content(3, 300_000));
    await fixture.sink.flush();
    const { table } = fixture;
    const [large] = [table.storedOf(2)];
    expect(large).toMatchObject({ encoding: codec.algorithm, blocks: 3 });
    expect(large.extents).toEqual(Uint8Array.of(1, 1, 1));
    const bundle = table.blockOf(0);
    expect(table.storedOf(0)).toMatchObject({ place: placeOf(bundle, 0), blocks: 0 });
    expect(table.storedOf(1)).toMatchObject({ place: placeOf(bundle, 5000), blocks: 0 });
    const row = table.writtenBundles.get(bundle);
    expect(row).toMatchObject({ blocks: 1, size_bytes: 8192, encoding: codec.algorithm });
    const stored = fixture.read(bundle, 4096);
    const decoded = Buffer.from(decodeExtent(codec.algorithm, stored, 8192));
    expect(decoded.subarray(0, 5000).equals(content(1, 5000))).toBe(true);
    expect(decoded.subarray(5000, 5700).equals(content(2, 700))).toBe(true);
    expect(isZero(decoded.subarray(5700))).toBe(true);
  });

  test("leaves alone what does not compress", async () => {
    using fixture = new Fixture(codec);
    const random = randomBytes("sink", 700_000);
    await fixture.add(random);
    await fixture.sink.flush();
    const { place, ...stored } = fixture.table.storedOf(0);
    expect(stored).toEqual({ encoding: 0, blocks: 171, extents: null });
    expect(fixture.read(fixture.table.blockOf(0), random.length).equals(random)).toBe(true);
    expect(place).toBe(placeOf(firstBlockOfPack(1)));
  });

  test("stores zeros between other content, where a hole cannot be", async () => {
    using fixture = new Fixture(codec);
    (await fixture.sink.space(chunkBytesMax)).fill(0);
    expect(fixture.sink.put(chunkBytesMax, chunkUse.dense)).toBe(0);
    (await fixture.sink.space(chunkBytesMax)).fill(0);
    expect(fixture.sink.put(chunkBytesMax, chunkUse.sparse)).toBe(holeChunk);
    await fixture.sink.flush();
    expect(fixture.table.storedOf(0).blocks).toBe(chunkBytesMax / extentBytesMax);
  });

  test("keeps the order of content through many buffers", async () => {
    using fixture = new Fixture(codec);
    for (let seed = 0; seed < 40; seed++) await fixture.add(content(seed, chunkBytesMax));
    await fixture.sink.flush();
    for (let seed = 0; seed < 40; seed++) {
      const { extents } = fixture.table.storedOf(seed);
      let block = fixture.table.blockOf(seed);
      const pieces: Uint8Array[] = [];
      for (const blocks of extents ?? []) {
        const stored = fixture.read(block, blocks * 4096);
        pieces.push(decodeExtent(codec.algorithm, stored, extentBytesMax));
        block += blocks;
      }
      expect(Buffer.concat(pieces).equals(content(seed, chunkBytesMax))).toBe(true);
    }
  });

  test("passes on why content could not be written, and writes no more", async () => {
    using fixture = new Fixture(codec);
    fixture.failure = new Error("no blocks");
    await fixture.add(content(1, 100_000));
    expect(await rejection(fixture.sink.flush())).toBe(fixture.failure);
    expect(await rejection(fixture.sink.flush())).toBe(fixture.failure);
  });

  test("writes nothing once it is disposed of", async () => {
    using fixture = new Fixture(codec);
    await fixture.add(content(1, 100_000));
    await fixture.sink[Symbol.asyncDispose]();
    expect(String(await rejection(fixture.sink.flush()))).toContain("after the end of its layer");
    expect(fixture.reserved).toEqual([]);
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

describe("PackWriter", () => {
  test("writes more pieces than one call takes, in order", async () => {
    using fixture = new Fixture();
    const pieces = Array.from({ length: 1500 }, (_, index) => content(index, 4096));
    const writer = new PackWriter(fixture.paths);
    await writer.write(firstBlockOfPack(1), pieces);
    writer.close();
    const whole = Buffer.concat(pieces);
    expect(fixture.read(firstBlockOfPack(1), whole.length).equals(whole)).toBe(true);
  });
});

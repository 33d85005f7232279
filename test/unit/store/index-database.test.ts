import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { statSync } from "node:fs";
import { join } from "node:path";
import {
  allLayerIds,
  type ChunkRow,
  endOfPack,
  findChunks,
  findLayer,
  openIndex,
  rootId,
  usedPacks,
} from "../../../src/store/index-database.ts";
import { indexMigrations } from "../../../src/store/index-schema.ts";
import { firstBlockOfPack, placeOf } from "../../../src/store/layout.ts";
import { truncateLog } from "../../../src/util/database-log.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";

/** The tables as the first version made them, with two chunks of one layer. */
const versionOne = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE chunks (block INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE,
  size_bytes INTEGER NOT NULL, uses INTEGER NOT NULL) STRICT;
CREATE TABLE layers (id INTEGER PRIMARY KEY AUTOINCREMENT, image_sha256 BLOB NOT NULL UNIQUE,
  image_bytes INTEGER NOT NULL, inodes INTEGER NOT NULL, content_bytes INTEGER NOT NULL,
  chunk_uses INTEGER NOT NULL, packs TEXT NOT NULL, created_ns INTEGER NOT NULL) STRICT;
CREATE TABLE layer_chunks (layer INTEGER NOT NULL REFERENCES layers (id),
  block INTEGER NOT NULL REFERENCES chunks (block), uses INTEGER NOT NULL,
  PRIMARY KEY (layer, block)) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('root_id', 'the root');
INSERT INTO layers VALUES (7, x'00', 4096, 3, 5000, 3, '1', 0);
INSERT INTO chunks VALUES (${firstBlockOfPack(1)}, x'01', 4097, 2);
INSERT INTO chunks VALUES (${firstBlockOfPack(1) + 2}, x'02', 4096, 1);
INSERT INTO layer_chunks VALUES (7, ${firstBlockOfPack(1)}, 2);
INSERT INTO layer_chunks VALUES (7, ${firstBlockOfPack(1) + 2}, 1);
PRAGMA user_version = 1;
`;

function openMigrated(folder: string): Database {
  const path = join(folder, "index.db");
  using old = new Database(path, { create: true });
  old.run(versionOne);
  return openIndex(path);
}

describe("openIndex()", () => {
  test("keeps all content of an index of version 1, as raw chunks", () => {
    using folder = scratchFolder("unit");
    using database = openMigrated(folder.path);
    const raw = { encoding: 0, extents: null, setting: 0, stale: 0 };
    const chunks = database.query<ChunkRow, []>("SELECT * FROM chunks ORDER BY place").all();
    const first = firstBlockOfPack(1);
    expect(chunks).toEqual([
      { place: placeOf(first), sha256: Buffer.of(1), ...raw, size_bytes: 4097, blocks: 2, uses: 2 },
      {
        place: placeOf(first + 2),
        sha256: Buffer.of(2),
        ...raw,
        size_bytes: 4096,
        blocks: 1,
        uses: 1,
      },
    ] as unknown as ChunkRow[]);
    expect(database.query("SELECT place, uses FROM layer_chunks").values()).toEqual([
      [placeOf(first), 2],
      [placeOf(first + 2), 1],
    ]);
    expect([allLayerIds(database), rootId(database), usedPacks(database)]).toEqual([
      [7],
      "the root",
      [1],
    ]);
    expect(endOfPack(database, 1)).toBe(first + 3);
  });

  test("keeps all content of an index of version 3, none of it stale", () => {
    using folder = scratchFolder("unit");
    const path = join(folder.path, "index.db");
    const [first, second] = [placeOf(firstBlockOfPack(1)), placeOf(firstBlockOfPack(1) + 9, 512)];
    {
      using old = new Database(path, { create: true });
      for (const sql of indexMigrations.slice(0, 3)) old.run(sql);
      old.run(`INSERT INTO chunks VALUES (${first}, x'01', 0, 4097, 2, NULL, 2)`);
      old.run(`INSERT INTO chunks VALUES (${second}, x'01', 3, 4097, 0, NULL, 1)`);
      old.run(`INSERT INTO layer_chunks VALUES (7, ${first}, 2), (7, ${second}, 1)`);
      old.run("PRAGMA user_version = 3");
    }
    using database = openIndex(path);
    const sql = "SELECT place, encoding, blocks, uses, setting, stale FROM chunks ORDER BY place";
    expect(database.query(sql).values()).toEqual([
      [first, 0, 2, 2, 0, 0],
      [second, 3, 0, 1, 3, 0],
    ]);
    expect(database.query("SELECT place FROM layer_chunks").values()).toEqual([[first], [second]]);
    expect(database.query("PRAGMA integrity_check").values()).toEqual([["ok"]]);
    const tables = database.query("SELECT sql FROM sqlite_schema WHERE name = 'layer_chunks'");
    expect(String(tables.values())).toContain("REFERENCES chunks (place)");
  });

  test("takes the images of an index of version 4 for ours", () => {
    using folder = scratchFolder("unit");
    const path = join(folder.path, "index.db");
    {
      using old = new Database(path, { create: true });
      for (const sql of indexMigrations.slice(0, 4)) old.run(sql);
      old.run("INSERT INTO layers VALUES (7, x'07', 4096, 1, 0, 0, '', 0)");
      old.run("PRAGMA user_version = 4");
    }
    using database = openIndex(path);
    expect(findLayer(database, 7)).toMatchObject({ id: 7, builder: "native" });
  });

  test("opens a migrated index again", () => {
    using folder = scratchFolder("unit");
    openMigrated(folder.path).close();
    using database = openIndex(join(folder.path, "index.db"));
    expect(allLayerIds(database)).toEqual([7]);
  });

  test("does not wait for a layer that is being published", () => {
    using folder = scratchFolder("unit");
    const path = join(folder.path, "index.db");
    using writer = openIndex(path);
    writer.run("BEGIN IMMEDIATE");
    using reader = openIndex(path);
    expect(allLayerIds(reader)).toEqual([]);
    writer.run("ROLLBACK");
  });

  test("refuses an index of a later version", () => {
    using folder = scratchFolder("unit");
    const path = join(folder.path, "index.db");
    openIndex(path).close();
    using database = new Database(path);
    database.run("PRAGMA user_version = 99");
    expect(() => openIndex(path)).toThrow("schema version 99 found");
  });
});

describe("findChunks()", () => {
  test("finds no stale chunk, but the same content stored anew", () => {
    using folder = scratchFolder("unit");
    using database = openIndex(join(folder.path, "index.db"));
    const hash = Buffer.alloc(32, 7);
    const insert = database.query("INSERT INTO chunks VALUES (?, ?, 3, 100, 1, NULL, 1, 3, ?)");
    insert.run(placeOf(firstBlockOfPack(1)), hash, 1);
    insert.run(placeOf(firstBlockOfPack(1) + 1), hash, 1);
    const found: number[] = [];
    findChunks(database, [hash], ({ place }) => found.push(place));
    expect(found).toEqual([]);
    insert.run(placeOf(firstBlockOfPack(1) + 2), hash, 0);
    findChunks(database, [hash], ({ place }) => found.push(place));
    expect(found).toEqual([placeOf(firstBlockOfPack(1) + 2)]);
    expect(() => insert.run(placeOf(firstBlockOfPack(1) + 3), hash, 0)).toThrow("UNIQUE");
  });

  test("goes by an index", () => {
    using folder = scratchFolder("unit");
    using database = openIndex(join(folder.path, "index.db"));
    const plan = database
      .query<{ detail: string }, []>(
        "EXPLAIN QUERY PLAN SELECT * FROM chunks WHERE sha256 IN (?, ?) AND stale = 0",
      )
      .all();
    expect(plan.map(({ detail }) => detail).join()).toContain("chunks_by_content");
  });
});

describe("endOfPack()", () => {
  test("counts the bundle behind the last chunk", () => {
    using folder = scratchFolder("unit");
    using database = openIndex(join(folder.path, "index.db"));
    expect(endOfPack(database, 1)).toBeUndefined();
    const block = firstBlockOfPack(1) + 10;
    database.run(`INSERT INTO bundles VALUES (${block}, 5, 131072, 3)`);
    const place = placeOf(block, 9000);
    database.run(`INSERT INTO chunks VALUES (${place}, x'01', 3, 100, 0, NULL, 1, 3, 0)`);
    expect(endOfPack(database, 1)).toBe(block + 5);
    expect(endOfPack(database, 2)).toBeUndefined();
  });
});

describe("truncateLog()", () => {
  test("empties the log, but not while somebody reads", () => {
    using folder = scratchFolder("unit");
    const path = join(folder.path, "index.db");
    using database = openIndex(path);
    using reader = openIndex(path);
    const logBytes = () => statSync(`${path}-wal`).size;
    database.run("INSERT INTO meta (key, value) VALUES ('a', 'b')");
    reader.run("BEGIN");
    expect(rootId(reader)).toBe(rootId(database));
    database.run("INSERT INTO meta (key, value) VALUES ('c', 'd')");
    truncateLog(database);
    expect(logBytes()).toBeGreaterThan(0);
    reader.run("COMMIT");
    truncateLog(database);
    expect(logBytes()).toBe(0);
  });
});

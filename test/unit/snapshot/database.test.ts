import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { checkpoint, logBytesMax, openDatabase } from "../../../src/snapshot/database.ts";
import { SnapshotMetadata } from "../../../src/snapshot/metadata.ts";
import { applicationId } from "../../../src/snapshot/schema.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { noLabels } from "./fakes.ts";

function add(metadata: SnapshotMetadata, count: number): void {
  for (let index = 0; index < count; index++) {
    const id = metadata.reserveId();
    const name = `snapshot ${id}`;
    metadata.insert({ id, name, parentId: undefined, kind: "active", nowNs: 1n, labels: noLabels });
  }
}

describe("openDatabase()", () => {
  test("refuses a damaged database and names it, with a remedy", async () => {
    using scratch = scratchFolder("unit");
    const path = join(scratch.path, "snapshots.db");
    const metadata = SnapshotMetadata.open(path);
    add(metadata, 2000);
    await metadata.close();
    truncateSync(path, statSync(path).size - 8192);
    expect(() => openDatabase(path)).toThrow(
      expect.objectContaining({
        code: "data_loss",
        message: expect.stringContaining(path),
        remedy: expect.stringContaining("backup"),
      }),
    );
  });

  test("refuses what is no database, and leaves it as it is", () => {
    using scratch = scratchFolder("unit");
    const path = join(scratch.path, "snapshots.db");
    writeFileSync(path, "x".repeat(10_000));
    expect(() => openDatabase(path)).toThrow(expect.objectContaining({ code: "data_loss" }));
    expect(statSync(path).size).toBe(10_000);
  });

  test("refuses the database of another program or of a newer version", () => {
    using scratch = scratchFolder("unit");
    const foreign = join(scratch.path, "foreign.db");
    const newer = join(scratch.path, "newer.db");
    for (const path of [foreign, newer]) {
      using database = new Database(path);
      database.run("CREATE TABLE other (id INTEGER)");
      if (path === newer) database.run(`PRAGMA application_id = ${applicationId}`);
      database.run("PRAGMA user_version = 999");
    }
    expect(() => openDatabase(foreign)).toThrow("no snapshot database");
    expect(() => openDatabase(newer)).toThrow("has version 999");
  });
});

describe("checkpoint()", () => {
  test("empties the log beside an open connection, which goes on with the same file", async () => {
    using scratch = scratchFolder("unit");
    const path = join(scratch.path, "snapshots.db");
    const metadata = SnapshotMetadata.open(path);
    const log = () => statSync(`${path}-wal`);
    add(metadata, 100);
    const first = log();
    expect(first.size).toBeGreaterThan(logBytesMax);
    checkpoint(path);
    expect(log()).toMatchObject({ size: 0, ino: first.ino });
    add(metadata, 1);
    expect(log().size).toBeGreaterThan(0);
    await metadata.durable();
    expect(metadata.page(0, undefined)).toHaveLength(101);
    await metadata.close();
  });

  test("does not wait for a reader, whose part of the log stays", async () => {
    using scratch = scratchFolder("unit");
    const path = join(scratch.path, "snapshots.db");
    const metadata = SnapshotMetadata.open(path);
    using reader = new Database(path);
    reader.run("BEGIN");
    reader.run("SELECT * FROM snapshots");
    add(metadata, 1);
    checkpoint(path);
    expect(statSync(`${path}-wal`).size).toBeGreaterThan(0);
    await metadata.close();
  });
});

describe("SnapshotMetadata.durable()", () => {
  test("leaves a database that opens from its files as they are at that moment", async () => {
    using scratch = scratchFolder("unit");
    const path = join(scratch.path, "snapshots.db");
    const metadata = SnapshotMetadata.open(path);
    add(metadata, 3);
    await Promise.all([metadata.durable(), metadata.durable()]);
    const copy = join(scratch.path, "copy");
    mkdirSync(copy);
    for (const end of ["", "-wal"]) copyFileSync(path + end, join(copy, `snapshots.db${end}`));
    expect(existsSync(join(copy, "snapshots.db-shm"))).toBe(false);
    const killed = SnapshotMetadata.open(join(copy, "snapshots.db"));
    expect(killed.page(0, undefined)).toHaveLength(3);
    await killed.close();
    await metadata.close();
  });
});

import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { openIndex, rootId } from "../../../src/store/index-database.ts";
import { indexMigrations } from "../../../src/store/index-schema.ts";
import { enterLayerBlob, findLayerBlob } from "../../../src/store/layer-blobs.ts";

function addLayer(database: Database): number {
  const { lastInsertRowid } = database
    .query(
      `INSERT INTO layers (image_sha256, image_bytes, inodes, content_bytes, chunk_uses, packs,
         created_ns) VALUES (randomblob(32), 4096, 7, 0, 0, '', 0)`,
    )
    .run();
  return Number(lastInsertRowid);
}

const root = "40755 0:0";
const facts = { digest: "sha256:ab", root, diff_id: "sha256:cd", tar_bytes: 10_240 };

describe("findLayerBlob()", () => {
  test("finds the layer a blob was made a layer of, where it is the same one", () => {
    using scratch = scratchFolder("unit");
    using database = openIndex(join(scratch.path, "index.db"));
    const [anywhere, first] = [addLayer(database), addLayer(database)];
    enterLayerBlob(database, { ...facts, place: "any", layer: anywhere });
    enterLayerBlob(database, { ...facts, digest: "sha256:ef", place: "first", layer: first });
    const at = (digest: string, place: "first" | "upper", of = root) =>
      findLayerBlob(database, { digest, root: of, place })?.layer;
    expect([at("sha256:ab", "first"), at("sha256:ab", "upper")]).toEqual([anywhere, anywhere]);
    expect([at("sha256:ef", "first"), at("sha256:ef", "upper")]).toEqual([first, undefined]);
    expect(at("sha256:ab", "first", "40700 0:0")).toBeUndefined();
    expect(findLayerBlob(database, { ...facts, place: "first" })).toMatchObject({
      ...facts,
      inodes: 7,
    });
  });
});

describe("openIndex()", () => {
  test("takes over an index of the first version", () => {
    using scratch = scratchFolder("unit");
    const path = join(scratch.path, "index.db");
    {
      using old = new Database(path, { create: true });
      old.run(indexMigrations[0] ?? "");
      old.run("INSERT INTO meta (key, value) VALUES ('root_id', 'old root')");
      old.run("PRAGMA user_version = 1");
      addLayer(old);
    }
    using database = openIndex(path);
    expect(rootId(database)).toBe("old root");
    enterLayerBlob(database, { ...facts, place: "any", layer: 1 });
    expect(findLayerBlob(database, { ...facts, place: "upper" })?.layer).toBe(1);
  });

  test("refuses an index of a newer version", () => {
    using scratch = scratchFolder("unit");
    const path = join(scratch.path, "index.db");
    openIndex(path).close();
    {
      using newer = new Database(path);
      newer.run(`PRAGMA user_version = ${indexMigrations.length + 1}`);
    }
    expect(() => openIndex(path)).toThrow("at most");
  });
});

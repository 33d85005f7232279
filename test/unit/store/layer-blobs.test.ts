import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { openIndex, rootId } from "../../../src/store/index-database.ts";
import { indexMigrations } from "../../../src/store/index-schema.ts";
import { enterLayerBlob, findLayerBlob } from "../../../src/store/layer-blobs.ts";
import { imagePath, type StorePaths, storePaths } from "../../../src/store/paths.ts";

const imageBytes = 4096;

function addLayer(database: Database): number {
  const { lastInsertRowid } = database
    .query(
      `INSERT INTO layers (image_sha256, image_bytes, inodes, content_bytes, chunk_uses, packs,
         created_ns) VALUES (randomblob(32), ${imageBytes}, 7, 0, 0, '', 0)`,
    )
    .run();
  return Number(lastInsertRowid);
}

/** A layer with an image file of the right size. */
function addLayerWithImage(database: Database, paths: StorePaths): number {
  const layerId = addLayer(database);
  mkdirSync(paths.images, { recursive: true });
  writeFileSync(imagePath(paths, layerId), Buffer.alloc(imageBytes));
  return layerId;
}

const root = "40755 0:0";
const facts = { digest: "sha256:ab", root, diff_id: "sha256:cd", tar_bytes: 10_240 };

describe("findLayerBlob()", () => {
  test("finds the layer a blob was made a layer of, where it is the same one", () => {
    using scratch = scratchFolder("unit");
    const paths = storePaths(scratch.path);
    using database = openIndex(paths.indexDatabase);
    const anywhere = addLayerWithImage(database, paths);
    const first = addLayerWithImage(database, paths);
    enterLayerBlob(database, { ...facts, place: "any", layer: anywhere });
    enterLayerBlob(database, { ...facts, digest: "sha256:ef", place: "first", layer: first });
    const at = (digest: string, place: "first" | "upper", of = root) =>
      findLayerBlob(database, paths, { digest, root: of, place })?.layer;
    expect([at("sha256:ab", "first"), at("sha256:ab", "upper")]).toEqual([anywhere, anywhere]);
    expect([at("sha256:ef", "first"), at("sha256:ef", "upper")]).toEqual([first, undefined]);
    expect(at("sha256:ab", "first", "40700 0:0")).toBeUndefined();
    expect(findLayerBlob(database, paths, { ...facts, place: "first" })).toEqual({
      ...facts,
      place: "any",
      layer: anywhere,
      inodes: 7,
    });
  });

  test("finds none whose image file is cut off or gone", () => {
    using scratch = scratchFolder("unit");
    const paths = storePaths(scratch.path);
    using database = openIndex(paths.indexDatabase);
    const layer = addLayerWithImage(database, paths);
    enterLayerBlob(database, { ...facts, place: "any", layer });
    const find = () => findLayerBlob(database, paths, { ...facts, place: "first" })?.layer;
    expect(find()).toBe(layer);
    truncateSync(imagePath(paths, layer), imageBytes - 1);
    expect(find()).toBeUndefined();
    rmSync(imagePath(paths, layer));
    expect(find()).toBeUndefined();
  });
});

describe("openIndex()", () => {
  test("takes over an index of the first version", () => {
    using scratch = scratchFolder("unit");
    const paths = storePaths(scratch.path);
    const path = paths.indexDatabase;
    {
      using old = new Database(path, { create: true });
      old.run(indexMigrations[0] ?? "");
      old.run("INSERT INTO meta (key, value) VALUES ('root_id', 'old root')");
      old.run("PRAGMA user_version = 1");
      addLayer(old);
    }
    using database = openIndex(path);
    expect(rootId(database)).toBe("old root");
    const layer = addLayerWithImage(database, paths);
    enterLayerBlob(database, { ...facts, place: "any", layer });
    expect(findLayerBlob(database, paths, { ...facts, place: "upper" })?.layer).toBe(layer);
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

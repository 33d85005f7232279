import { describe, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { imageFilesOf } from "../../../src/claim/image-files.ts";
import { AppError } from "../../../src/errors.ts";
import type { MountMethod } from "../../../src/mount/contract.ts";
import type { LayerRow } from "../../../src/store/index-database.ts";
import { indexMigrations } from "../../../src/store/index-schema.ts";
import { storePaths } from "../../../src/store/paths.ts";
import { rejection } from "../../support/rejection.ts";

const paths = storePaths("/root");
const missing = new AppError("failed_precondition", "content is missing");

/** A layer with content in a local pack and in a lazy one, exposed at `device`. */
async function packsOf(method: MountMethod, device: string, complete?: 0 | 1) {
  using index = new Database(":memory:");
  for (const migration of indexMigrations) index.run(migration);
  index.run("PRAGMA foreign_keys = OFF");
  if (complete !== undefined) index.run("INSERT INTO lazy_packs VALUES (512, 7, 1, ?)", [complete]);
  const asked: string[] = [];
  const lazyLayers = {
    device: async () => (asked.push("device"), device),
    requireWhole: async () => {
      throw missing;
    },
  };
  const layer = { id: 7, packs: "1,512" } as LayerRow;
  const { packs } = await imageFilesOf({ paths, index }, layer, lazyLayers, method);
  return { packs, asked };
}

describe("imageFilesOf()", () => {
  test("reads what is complete from the packs themselves", async () => {
    const found = await packsOf("loop", "/elsewhere/512.pack", 1);
    expect(found).toEqual({ packs: ["/root/packs/1.pack", "/root/packs/512.pack"], asked: [] });
  });

  test("asks where to read what may be missing, and what the index does not know", async () => {
    for (const complete of [0, undefined] as const) {
      const found = await packsOf("loop", "/root/lazy/512.pack", complete);
      expect(found.packs).toEqual(["/root/packs/1.pack", "/root/lazy/512.pack"]);
    }
    const watched = await packsOf("file", "/root/packs/512.pack", 0);
    expect(watched).toEqual({
      packs: ["/root/packs/1.pack", "/root/packs/512.pack"],
      asked: ["device"],
    });
  });

  test("gives no loop device a pack that has holes", async () => {
    for (const device of ["/root/packs/512.pack", "/same/root/packs/512.pack"]) {
      expect(await rejection(packsOf("loop", device, 0))).toBe(missing);
    }
  });
});

/**
 * Layers built from tars in a real store: what a later entry replaced takes no space and is counted
 * nowhere.
 */
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { checkImages } from "../../src/check/image-check.ts";
import { checkIndex } from "../../src/check/index-check.ts";
import { build, publish, type BuildEnvironment } from "../../src/layer/build.ts";
import { buildTarTree } from "../../src/layer/tar-tree.ts";
import { openIndex } from "../../src/store/index-database.ts";
import { PackAllocator } from "../../src/store/pack-allocator.ts";
import { storePaths } from "../../src/store/paths.ts";
import { findLeftovers, removeLeftovers } from "../../src/store/reclaim.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { randomBytes } from "../support/random.ts";
import { pieces, rawTar } from "../support/tar/raw-tar.ts";

const chunkBytes = 64 * 1024;

const replacedAndKept = rawTar([
  { name: "same", content: randomBytes("kept", 200_000) },
  { name: "replaced", content: randomBytes("first", 100_000) },
  { name: "replaced", content: randomBytes("second", 70_000) },
  { name: "folder/gone", content: randomBytes("gone", 90_000) },
  { name: "folder", content: randomBytes("kept", 200_000) },
]);

test("a layer keeps only the content of the files that stay", async () => {
  using folder = scratchFolder("tar");
  const paths = storePaths(folder.path);
  mkdirSync(paths.images, { recursive: true });
  const allocator = new PackAllocator(paths);
  await allocator.load(() => undefined);
  const reservation = allocator.begin();
  const reserve = (count: number) => allocator.reserve(reservation, count);
  const database = openIndex(paths.indexDatabase);
  const environment: BuildEnvironment = { database, paths, chunkBytes, reserve };
  const layer = await build(environment, ({ sink }) =>
    buildTarTree(pieces(replacedAndKept), { sink, chunkBytes }),
  );
  const { unneededChunks } = publish(environment, layer);
  expect(unneededChunks).toBe(2 + 2);
  removeLeftovers(paths, findLeftovers(database, paths));
  const findings: unknown[] = [];
  checkImages(database, paths, (finding) => findings.push(finding));
  checkIndex(database, (finding) => findings.push(finding));
  expect(findings).toEqual([]);
  const bytes = readdirSync(paths.packs).map((name) => statSync(join(paths.packs, name)).blocks);
  expect(bytes).toEqual([(Math.ceil(200_000 / 4096) + Math.ceil(70_000 / 4096)) * 8]);
  database.close();
});

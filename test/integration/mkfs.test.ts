/** Layers whose images mkfs.erofs writes, on a real file system and kernel. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compressionAlgorithm } from "../../src/erofs/compression.ts";
import { type MkfsResult, probeMkfs } from "../../src/mkfs/probe.ts";
import { askMkfs } from "../../src/mkfs/tool.ts";
import type { MountMode } from "../../src/mount/contract.ts";
import { findLayer } from "../../src/store/index-database.ts";
import { imagePath } from "../../src/store/paths.ts";
import { layersToRecompress } from "../../src/store/stale-chunks.ts";
import { ensurePackages } from "../../scripts/lib/apt.ts";
import { type ScratchFolder, scratchFolder } from "../../scripts/lib/temp.ts";
import { mkfsOfForky } from "../support/mkfs.ts";
import { rejection } from "../support/rejection.ts";
import { treeDifferences } from "../support/image/model.ts";
import { TestStore } from "../support/store.ts";
import { readTree } from "../support/tree.ts";

const chunkBytes = 64 * 1024;
const mode: MountMode = { method: "file", directIo: true };
const zstd = { algorithm: compressionAlgorithm.zstd, level: 3 };
const content = Buffer.alloc(300_000, "content of a file ");

let folder: ScratchFolder;
let path: string;
let probe: MkfsResult;
let fallbacks: string[] = [];

beforeAll(async () => {
  folder = scratchFolder("mkfs");
  path = await mkfsOfForky(folder.path);
  probe = await probeMkfs({ path, options: null, mode }, folder.path);
});
afterAll(() => folder[Symbol.dispose]());

function openStore(isCancelled = () => false): TestStore {
  fallbacks = [];
  const onFallback = (reason: string) => void fallbacks.push(reason);
  return new TestStore(chunkBytes, { tool: probe.tool, isCancelled, onFallback });
}

describe("probeMkfs()", () => {
  test("finds that everything a layer may hold comes out right, with all features", () => {
    expect(probe.failed).toEqual([]);
    expect(probe.tool.options).toEqual(["-zlz4hc,9", "-Eztailpacking,dedupe"]);
    expect(readdirSync(folder.path)).toEqual(["mkfs.erofs"]);
  });

  test("finds a way for the one of this machine, whatever its version", async () => {
    await ensurePackages(["erofs-utils"]);
    const request = { path: "mkfs.erofs", options: null, mode };
    const { tool } = await probeMkfs(request, folder.path);
    expect(tool.source).toBe((await askMkfs("mkfs.erofs")).readsTar ? "tar" : "directory");
    expect(tool.options).toContain("-zlz4hc,9");
    using store = openStore();
    store.mkfs = { ...store.mkfs!, tool };
    const directory = store.makeFolder({ file: content, small: "small", empty: "" });
    mkdirSync(join(directory, "folder"));
    const { layerId, reused } = await store.add(directory, undefined);
    const mounted = readTree(store.mount(layerId));
    expect(treeDifferences(readTree(directory), mounted)).toEqual([]);
    expect([reused, fallbacks]).toEqual([false, []]);
    expect(await store.add(directory, undefined)).toMatchObject({ reused: true });
    expect(readdirSync(store.paths.images)).toEqual(["1.erofs"]);
  });

  test("names the package where the tool is missing", async () => {
    const request = { path: "/nowhere/mkfs.erofs", options: null, mode };
    const error = await rejection(probeMkfs(request, folder.path));
    expect(error).toMatchObject({ code: "failed_precondition" });
    expect(String(error)).toContain("not installed");
    expect((error as { remedy?: string }).remedy).toContain('"erofs-utils"');
  });

  test("refuses options that lose an attribute", async () => {
    const error = await rejection(probeMkfs({ path, options: ["--all-root"], mode }, folder.path));
    expect(error).toMatchObject({ code: "failed_precondition" });
    expect(String(error)).toContain("is read as");
  });
});

describe("a layer built by mkfs.erofs", () => {
  test("is one image without packs, and the same as its directory", async () => {
    using store = openStore();
    const directory = store.makeFolder({ file: content, small: "small", empty: "" });
    const published = await store.add(directory, undefined);
    expect(readdirSync(store.paths.packs)).toEqual([]);
    expect(treeDifferences(readTree(directory), readTree(store.mount(published.layerId)))).toEqual(
      [],
    );
    expect([published.inodes, published.addedBytes > 0, fallbacks]).toEqual([4, true, []]);
    expect(readdirSync(store.paths.images)).toEqual(["1.erofs"]);
  });

  test("is found again when it is built again, and checked, and a damage is seen", async () => {
    using store = openStore();
    const directory = store.makeFolder({ file: content });
    const first = await store.add(directory, undefined);
    const second = await store.add(directory, undefined);
    expect(second).toMatchObject({ layerId: first.layerId, reused: true, addedBytes: 0 });
    expect(store.check()).toEqual([]);
    const image = imagePath(store.paths, first.layerId);
    const bytes = readFileSync(image);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(image, bytes);
    expect(store.check()).toMatchObject([{ subject: "layer 1" }]);
  });

  test("lies beside one of ours, and either stays readable", async () => {
    using store = openStore();
    const directory = store.makeFolder({ file: content });
    const { layerId } = await store.add(directory, undefined);
    store.mkfs = undefined;
    const ours = await store.add(directory, undefined);
    expect(ours.layerId).not.toBe(layerId);
    for (const id of [layerId, ours.layerId]) {
      expect(readFileSync(join(store.mount(id), "file"))).toEqual(content);
    }
    expect(store.check()).toEqual([]);
  });

  test("is never recompressed, though one of ours beside it is, and stays ours", async () => {
    using store = openStore();
    const directory = store.makeFolder({ file: content });
    await store.add(directory, undefined);
    const builder = store.mkfs;
    store.mkfs = undefined;
    const ours = await store.add(directory, undefined);
    store.mkfs = builder;
    expect(layersToRecompress(store.database, zstd.algorithm)).toMatchObject([
      { layer: ours.layerId },
    ]);
    const { layerId } = await store.rewrite(ours.layerId, zstd, true);
    expect(layerId).not.toBe(ours.layerId);
    expect(findLayer(store.database, layerId)?.builder).toBe("native");
    expect(layersToRecompress(store.database, zstd.algorithm)).toEqual([]);
    expect(store.check()).toEqual([]);
  });

  test("is built by us where a tar cannot hold it, and the reason is told", async () => {
    using store = openStore();
    const directory = store.makeFolder({ file: content, sparse: "", "sparse-with-data": "" });
    truncateSync(join(directory, "sparse"), 2 ** 40);
    truncateSync(join(directory, "sparse-with-data"), chunkBytes * 3);
    writeFileSync(join(directory, "sparse-with-data"), content, { flag: "a" });
    mkdirSync(join(directory, "folder"));
    const { layerId } = await store.add(directory, undefined);
    expect(fallbacks).toMatchObject([expect.stringContaining('holes, in "sparse"')]);
    const mounted = store.mount(layerId);
    for (const name of ["file", "sparse-with-data"]) {
      expect(readFileSync(join(mounted, name))).toEqual(readFileSync(join(directory, name)));
    }
    expect(store.check()).toEqual([]);
  });

  test("leaves nothing when it is cancelled or the tool fails for want of space", async () => {
    using store = openStore(() => true);
    const directory = store.makeFolder({ file: content });
    const error = await rejection(store.build(directory, undefined));
    expect(error).toMatchObject({ code: "cancelled" });
    const full = join(folder.path, "full");
    writeFileSync(full, "#!/bin/sh\necho 'No space left on device' >&2\nexit 1\n", {
      mode: 0o755,
    });
    using fullStore = openStore();
    fullStore.mkfs = { ...fullStore.mkfs!, tool: { ...probe.tool, path: full } };
    // The tool ends before, while or after it is written to.
    for (let attempt = 0; attempt < 20; attempt++) {
      const other = await rejection(fullStore.build(directory, undefined));
      expect(other).toMatchObject({ code: "resource_exhausted" });
    }
    expect(readdirSync(store.paths.images)).toEqual([]);
    expect(readdirSync(fullStore.paths.images)).toEqual([]);
  });
});

/**
 * Layers of one image applied side by side, as containerd's unpacker does it with a snapshotter
 * that can "rebase" (core/unpack/unpacker.go of 2.3.4, `unpack`): all are prepared without a parent
 * (378-380, 415), labelled (398-404), applied at once (542) and then committed one after the other,
 * each on the one before (490-494, 624). What comes of it has to be what comes of one after the
 * other: equal trees are equal images, so not a single image may be added.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { TestDaemon } from "../support/daemon.ts";
import { ContentFolder, descriptorOf, DiffClient } from "../support/diff-client.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import { directory, file } from "../support/image/layer.ts";
import { expectedTree, treeDifferences } from "../support/image/model.ts";
import { chainIds, sha256 } from "../support/image/oci.ts";
import { writeTar } from "../support/image/tar.ts";
import { mounted } from "../support/mounted.ts";
import { randomBytes } from "../support/random.ts";
import { type Mount, SnapshotsClient } from "../support/snapshots-client.ts";
import { rawTar } from "../support/tar/raw-tar.ts";
import { readTree } from "../support/tree.ts";

let folder: ScratchFolder;
let daemon: TestDaemon;
let content: ContentFolder;
let snapshots: SnapshotsClient;
let diff: DiffClient;

beforeEach(async () => {
  folder = scratchFolder("rebase");
  const root = join(folder.path, "c");
  content = new ContentFolder(root);
  daemon = await TestDaemon.start(join(folder.path, "d"), {
    idleTimeoutMs: 0,
    containerd: { address: join(folder.path, "c.sock"), root },
  });
  snapshots = new SnapshotsClient(daemon.socket);
  diff = new DiffClient(daemon.socket);
});

afterEach(async () => {
  try {
    await snapshots.removeAll();
    snapshots[Symbol.dispose]();
    diff[Symbol.dispose]();
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
    expect(readdirSync(join(daemon.root, "images"))).toEqual([]);
  } finally {
    await daemon.kill();
    folder[Symbol.dispose]();
  }
});

interface Unpacked {
  readonly key: string;
  readonly chainId: string;
  readonly parentChainId: string | undefined;
  readonly blob: Buffer;
  readonly mounts: Mount[];
}

function labelsOf(chainId: string, parentChainId: string | undefined, isLabelled: boolean) {
  const labels = new Map([["containerd.io/snapshot.ref", chainId]]);
  if (isLabelled && parentChainId !== undefined) {
    labels.set("containerd.io/snapshot/parent-chain-id", parentChainId);
  }
  return labels;
}

/** @param isLabelled as 2.3 does it and 2.2 does not */
async function prepareAll(
  run: string,
  tars: readonly Buffer[],
  isLabelled: boolean,
): Promise<Unpacked[]> {
  const ids = chainIds(tars.map((tar) => sha256(tar)));
  const unpacked: Unpacked[] = [];
  for (const [index, tar] of tars.entries()) {
    const [chainId, parentChainId] = [ids[index]!, ids[index - 1]];
    const key = `${run}/extract-${index} ${chainId}`;
    const labels = labelsOf(chainId, parentChainId, isLabelled);
    const blob = gzipSync(tar, { level: 1 });
    content.put(blob);
    const mounts = await snapshots.prepare(key, "", labels);
    unpacked.push({ key, chainId, parentChainId, blob, mounts });
  }
  return unpacked;
}

/** Resolves with the name of the topmost snapshot. */
async function unpackAtOnce(
  run: string,
  tars: readonly Buffer[],
  isLabelled = true,
): Promise<string> {
  const all = await prepareAll(run, tars, isLabelled);
  const applied = await Promise.all(
    all.map(({ blob, mounts }) => diff.apply(descriptorOf(blob), mounts)),
  );
  expect(applied.map((tar) => tar?.digest)).toEqual(tars.map(sha256));
  for (const { key, chainId, parentChainId } of all) {
    const parent = parentChainId === undefined ? "" : `${run}/${parentChainId}`;
    await snapshots.commit(`${run}/${chainId}`, key, parent);
  }
  return `${run}/${all.at(-1)!.chainId}`;
}

async function unpackInTurn(run: string, tars: readonly Buffer[]): Promise<string> {
  let parent = "";
  for (const [index, tar] of tars.entries()) {
    const blob = gzipSync(tar, { level: 1 });
    content.put(blob);
    const mounts = await snapshots.prepare(`${run}/${index}`, parent);
    await diff.apply(descriptorOf(blob), mounts);
    parent = `${run}/layer ${index}`;
    await snapshots.commit(parent, `${run}/${index}`);
  }
  return parent;
}

async function treeOf(name: string): Promise<ReturnType<typeof readTree>> {
  using view = mounted(await snapshots.view(`view ${name}`, name));
  return readTree(view.path);
}

async function imageCount(): Promise<number> {
  await snapshots.cleanup();
  return readdirSync(join(daemon.root, "images")).length;
}

const base = writeTar([
  directory(""),
  directory("tmp", { mode: 0o1777 }),
  directory("etc", { mode: 0o750, uid: 3 }),
  file("etc/linked", randomBytes("linked", 50_000)),
  file("etc/gone", "gone"),
]);
/** Needs to know what is below: lists no directory, and links to a file of the layer below. */
const leaning = rawTar([
  { name: "tmp/new", content: "new" },
  { name: "etc/also", content: "also" },
  { name: "link", flag: "1", linkName: "etc/linked" },
  { name: "etc/.wh.gone" },
]);
const top = writeTar([directory("own"), file("own/file", randomBytes("own", 100_000))]);

describe("layers applied before those below them are there", () => {
  test("are what they are one after the other: every kind of file", async () => {
    const layers = hardCaseLayers();
    const tars = layers.map(writeTar);
    const tree = await treeOf(await unpackAtOnce("at once", tars));
    expect(treeDifferences(expectedTree(layers, "ours"), tree)).toEqual([]);
    await unpackInTurn("in turn", tars);
    expect(await imageCount()).toBe(layers.length);
    expect((await daemon.stats()).conversions).toMatchObject({ done: 3, skipped: 3, failed: 0 });
  });

  test("are what they are one after the other: layers that lean on those below", async () => {
    const layers = [base, leaning, top];
    const tree = await treeOf(await unpackAtOnce("at once", layers));
    expect(tree.get("tmp")).toMatchObject({ mode: "1777" });
    expect(tree.get("etc")).toMatchObject({ mode: "0750", owner: "3:0" });
    expect(tree.get("link")?.content).toBe(tree.get("etc/linked")?.content);
    expect(tree.has("etc/gone")).toBe(false);
    const turn = await treeOf(await unpackInTurn("in turn", layers));
    expect(treeDifferences(tree, turn)).toEqual([]);
    expect(await imageCount()).toBe(layers.length);
    expect((await daemon.stats()).conversions.failed).toBe(0);
  });

  test("are the same when the client does not say that they lie on others", async () => {
    const middle = [
      { name: "etc/", flag: "5", mode: 0o700 },
      { name: "etc/.wh.gone" },
      { name: "tmp/new", content: "new" },
    ];
    const tars = [base, rawTar(middle), top];
    const tree = await treeOf(await unpackAtOnce("at once", tars, false));
    expect(tree.get("tmp")).toMatchObject({ mode: "1777" });
    expect(tree.has("etc/gone")).toBe(false);
    const turn = await treeOf(await unpackInTurn("in turn", tars));
    expect(treeDifferences(tree, turn)).toEqual([]);
    expect(await imageCount()).toBe(tars.length);
  });

  test("are built once, also of several images at a time", async () => {
    const tars = [base, writeTar(hardCaseLayers()[0]!), top];
    const names = await Promise.all(["a", "b", "c"].map((run) => unpackAtOnce(run, tars)));
    const [first, ...others] = await Promise.all(names.map(treeOf));
    for (const other of others) expect(treeDifferences(first!, other)).toEqual([]);
    expect((await daemon.stats()).conversions).toMatchObject({ done: 3, skipped: 6, failed: 0 });
  });

  test("survive a kill between Apply and Commit", async () => {
    const layers = [base, leaning, top];
    const all = await prepareAll("run", layers, true);
    await Promise.all(all.map(({ blob, mounts }) => diff.apply(descriptorOf(blob), mounts)));
    snapshots[Symbol.dispose]();
    diff[Symbol.dispose]();
    await daemon.kill();
    await daemon.start();
    snapshots = new SnapshotsClient(daemon.socket);
    diff = new DiffClient(daemon.socket);
    for (const { key, chainId, parentChainId = "" } of all) {
      await snapshots.commit(chainId, key, parentChainId);
    }
    const turn = await treeOf(await unpackInTurn("in turn", layers));
    expect(treeDifferences(await treeOf(all.at(-1)!.chainId), turn)).toEqual([]);
  });

  test("refuse a Commit that needs a blob which is gone, and take it when it is back", async () => {
    const [first, second] = await prepareAll("run", [base, leaning], true);
    await diff.apply(descriptorOf(first!.blob), first!.mounts);
    await diff.apply(descriptorOf(second!.blob), second!.mounts);
    content.remove(sha256(second!.blob));
    await snapshots.commit(first!.chainId, first!.key);
    const commit = () => snapshots.commit(second!.chainId, second!.key, first!.chainId);
    expect(String(await commit().catch(String))).toContain("Cannot read blob");
    expect(await snapshots.stat(second!.key)).toBeDefined();
    content.put(second!.blob);
    await commit();
    expect((await treeOf(second!.chainId)).get("tmp/new")).toBeDefined();
  });
});

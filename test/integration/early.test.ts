/**
 * Layers built while their blobs are downloaded: by the compiled daemon, from the content store of
 * a containerd that is played here.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { ingestFolder } from "../../src/containerd/content-store.ts";
import type { EarlyCounts } from "../../src/layer/early-builds.ts";
import type { Mount } from "../../src/rpc/gen/containerd/types/mount.ts";
import { KiB } from "../../src/util/bytes.ts";
import { type DaemonOptions, TestDaemon } from "../support/daemon.ts";
import { ContentFolder, descriptorOf, DiffClient } from "../support/diff-client.ts";
import { diskUsage } from "../support/disk-usage.ts";
import { FakeDownload } from "../support/fake-download.ts";
import { directory, file, type Layer } from "../support/image/layer.ts";
import { expectedTree, treeDifferences } from "../support/image/model.ts";
import { sha256 } from "../support/image/oci.ts";
import { writeTar } from "../support/image/tar.ts";
import { mounted } from "../support/mounted.ts";
import { randomBytes } from "../support/random.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";
import { rawTar } from "../support/tar/raw-tar.ts";
import { readTree } from "../support/tree.ts";

let folder: ScratchFolder;
let daemon: TestDaemon;
let content: ContentFolder;
let snapshots: SnapshotsClient;
let diff: DiffClient;

const root = () => join(folder.path, "c");

function connect(): void {
  snapshots = new SnapshotsClient(daemon.socket);
  diff = new DiffClient(daemon.socket);
}

function disconnect(): void {
  snapshots[Symbol.dispose]();
  diff[Symbol.dispose]();
}

async function startDaemon(options: DaemonOptions = {}): Promise<void> {
  daemon = await TestDaemon.start(join(folder.path, "d"), {
    idleTimeoutMs: 0,
    containerd: { address: join(folder.path, "c.sock"), root: root() },
    ...options,
  });
  connect();
}

beforeEach(async () => {
  folder = scratchFolder("early");
  content = new ContentFolder(root());
  mkdirSync(ingestFolder(root()), { recursive: true });
  await startDaemon();
});

afterEach(async () => {
  try {
    await snapshots.removeAll();
    disconnect();
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
  } finally {
    await daemon.kill();
    folder[Symbol.dispose]();
  }
});

async function expectNothingStored(): Promise<void> {
  expect(readdirSync(join(daemon.root, "images"))).toEqual([]);
  expect(await diskUsage(join(daemon.root, "packs"))).toBeLessThan(64 * KiB);
}

const counts = async (): Promise<EarlyCounts> => (await daemon.stats()).early;

function waitFor(what: keyof EarlyCounts, count: number): Promise<void> {
  return waitUntil(async () => (await counts())[what] === count, `${count} ${what}`);
}

/** As containerd's unpacker does, before it has the blobs fetched. */
function prepare(name: string, parent = ""): Promise<Mount[]> {
  const labels = new Map([["containerd.io/snapshot.ref", name]]);
  return snapshots.prepare(`extract ${name}`, parent, labels);
}

/** Applies and commits; resolves with the diff ID. */
async function apply(name: string, blob: Uint8Array, mounts: Mount[]): Promise<string | undefined> {
  const applied = await diff.apply(descriptorOf(blob), mounts);
  await snapshots.commit(name, `extract ${name}`);
  return applied?.digest;
}

async function differences(name: string, layers: readonly Layer[]): Promise<string[]> {
  using view = mounted(await snapshots.view(`view ${name}`, name));
  return treeDifferences(expectedTree(layers, "ours"), readTree(view.path));
}

const layer: Layer = [
  directory(""),
  directory("data"),
  file("data/small", "a few bytes\n"),
  file("data/large", randomBytes("large", 3_000_000)),
];
const tar = writeTar(layer);
const blob = gzipSync(tar, { level: 1 });

describe("Apply of a blob that was downloaded just now", () => {
  test("takes the layer that was built meanwhile", async () => {
    const mounts = await prepare("base");
    const download = new FakeDownload(root(), blob);
    download.reach(blob.length / 2);
    await waitFor("started", 1);
    download.commit();
    expect(await apply("base", blob, mounts)).toBe(sha256(tar));
    expect(await counts()).toEqual({ started: 1, used: 1, dropped: 0 });
    const { conversions } = await daemon.stats();
    expect(conversions).toMatchObject({ done: 1, skipped: 0, failed: 0 });
    expect(await differences("base", [layer])).toEqual([]);
  });

  test("takes layers that were built before those below them", async () => {
    const upper: Layer = [directory(""), directory("data"), file("data/new", randomBytes("n", 9))];
    const upperBlob = gzipSync(writeTar(upper));
    const mounts = await prepare("base");
    const download = new FakeDownload(root(), upperBlob);
    download.reach(10);
    await waitFor("started", 1);
    download.commit();
    content.put(blob);
    await apply("base", blob, mounts);
    await apply("upper", upperBlob, await prepare("upper", "base"));
    expect(await counts()).toEqual({ started: 1, used: 1, dropped: 0 });
    expect(await differences("upper", [layer, upper])).toEqual([]);
  });

  test.each<[string, (download: FakeDownload) => void]>([
    ["was aborted", (download) => download.abort()],
    ["began anew", (download) => download.restart()],
  ])("builds the layer where the download %s", async (_, end) => {
    const mounts = await prepare("base");
    const download = new FakeDownload(root(), blob);
    download.reach(blob.length / 2);
    await waitFor("started", 1);
    end(download);
    content.put(blob);
    expect(await apply("base", blob, mounts)).toBe(sha256(tar));
    const { started, used, dropped } = await counts();
    expect([started, used + dropped]).toEqual([1, 1]);
    expect((await daemon.stats()).conversions).toMatchObject({ done: 1, failed: 0 });
    expect(await differences("base", [layer])).toEqual([]);
  });

  test("builds the layer where other bytes came first", async () => {
    const mounts = await prepare("base");
    const flipped = blob.with(1_000_000, ~(blob[1_000_000] ?? 0));
    const download = new FakeDownload(root(), flipped, { digest: sha256(blob) });
    download.reach(flipped.length);
    await waitFor("dropped", 1);
    await expectNothingStored();
    content.put(blob);
    expect(await apply("base", blob, mounts)).toBe(sha256(tar));
    expect(await differences("base", [layer])).toEqual([]);
  });

  test("builds the layer where it takes something from those below", async () => {
    const linkedBlob = rawTar([{ name: "linked", flag: "1", linkName: "data/small" }]);
    content.put(blob);
    await apply("base", blob, await prepare("base"));
    const mounts = await prepare("upper", "base");
    const download = new FakeDownload(root(), linkedBlob);
    download.reach(linkedBlob.length);
    await waitFor("dropped", 1);
    download.commit();
    expect(await apply("upper", linkedBlob, mounts)).toBe(sha256(linkedBlob));
    expect(await counts()).toEqual({ started: 1, used: 0, dropped: 1 });
    expect((await daemon.stats()).conversions).toMatchObject({ done: 2, failed: 0 });
  });

  test("does not wait for the download of another, which may stand still", async () => {
    const mounts = await prepare("base");
    const stuck = new FakeDownload(root(), randomBytes("stuck", 2_000_000));
    stuck.reach(1_000_000);
    await waitFor("started", 1);
    content.put(blob);
    expect(await apply("base", blob, mounts)).toBe(sha256(tar));
    expect(await counts()).toEqual({ started: 1, used: 0, dropped: 0 });
  });

  test("does not wait for a download of the same that another namespace has begun", async () => {
    const mounts = await prepare("base");
    new FakeDownload(root(), blob).reach(blob.length / 2);
    await waitFor("started", 1);
    content.put(blob);
    expect(await apply("base", blob, mounts)).toBe(sha256(tar));
    expect(await counts()).toEqual({ started: 1, used: 0, dropped: 1 });
  });
});

describe("a download", () => {
  test("is left alone where its layer is there", async () => {
    content.put(blob);
    await apply("base", blob, await prepare("base"));
    await prepare("again");
    new FakeDownload(root(), blob).reach(1000);
    new FakeDownload(root(), randomBytes("other", 1000)).reach(1000);
    await waitFor("dropped", 1);
    expect(await counts()).toEqual({ started: 1, used: 0, dropped: 1 });
  });

  test("is left alone where nobody unpacks for us, or it is switched off", async () => {
    new FakeDownload(root(), blob).reach(blob.length);
    await snapshots.prepare("container", "");
    expect((await counts()).started).toBe(0);
    disconnect();
    await daemon.stop();
    await startDaemon({ appliesEarly: false });
    await prepare("base");
    content.put(blob);
    await apply("base", blob, await prepare("other"));
    expect((await counts()).started).toBe(0);
  });

  test("leaves nothing behind whose Apply never comes", async () => {
    await prepare("base");
    new FakeDownload(root(), blob).reach(blob.length);
    await waitUntil(async () => (await daemon.stats()).conversions.done === 1, "it is built");
    expect(readdirSync(join(daemon.root, "images"))).toHaveLength(1);
    disconnect();
    await daemon.stop();
    await expectNothingStored();
    await daemon.start();
    connect();
  });

  test("leaves nothing behind when the daemon is killed meanwhile", async () => {
    const mounts = await prepare("base");
    const built = new FakeDownload(root(), blob);
    built.reach(blob.length);
    await waitUntil(async () => (await daemon.stats()).conversions.done === 1, "it is built");
    const large = gzipSync(writeTar([file("x", randomBytes("x", 20_000_000))]), { level: 1 });
    new FakeDownload(root(), large).reach(15_000_000);
    await waitFor("started", 2);
    await waitUntil(async () => (await diskUsage(join(daemon.root, "packs"))) > 12_000_000, "more");
    await daemon.kill();
    disconnect();
    await daemon.start();
    await expectNothingStored();
    connect();
    built.commit();
    expect(await apply("base", blob, mounts)).toBe(sha256(tar));
    expect(await differences("base", [layer])).toEqual([]);
  });
});

/** Work in the background of the daemon: what is rewritten under containers that go on reading. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import type { MaintenanceStatus } from "../../src/layer/maintenance.ts";
import { defined } from "../../src/util/assert.ts";
import { GiB, MiB } from "../../src/util/bytes.ts";
import { type DaemonOptions, TestDaemon } from "../support/daemon.ts";
import { mounted, ownFolderOf } from "../support/mounted.ts";
import { randomBytes } from "../support/random.ts";
import { rejection } from "../support/rejection.ts";
import { fileDifferences, type Files } from "../support/snapshot-files.ts";
import { mountSmallDisk, unmountSmallDisk } from "../support/small-disk.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";
import { manyDense, text } from "../support/store-files.ts";

const fast = { idleTimeoutMs: 0, bytesPerSecond: 100 * GiB } as const;

let folder: ScratchFolder;
let daemon: TestDaemon;
let client: SnapshotsClient;

beforeEach(async () => {
  folder = scratchFolder("maintenance");
  await start(join(folder.path, "d"), { compression: "none" });
});

afterEach(async () => {
  client[Symbol.dispose]();
  await daemon.kill();
  daemon.unmountLayers();
  folder[Symbol.dispose]();
});

async function start(path: string, options: DaemonOptions): Promise<void> {
  daemon = await TestDaemon.start(path, { ...fast, ...options });
  client = new SnapshotsClient(daemon.socket);
}

async function restart(options: DaemonOptions): Promise<void> {
  client[Symbol.dispose]();
  await daemon.stop();
  daemon.configure({ ...fast, ...options });
  await daemon.start();
  await status();
  client = new SnapshotsClient(daemon.socket);
}

async function commitLayer(name: string, files: Files, parent = ""): Promise<void> {
  const own = ownFolderOf(await client.prepare(`key-${name}`, parent));
  for (const [file, content] of files) writeFileSync(join(own, file), content);
  await client.commit(name, `key-${name}`);
}

function filesOf(record: Readonly<Record<string, string | Uint8Array>>): Files {
  return new Map(Object.entries(record).map(([name, content]) => [name, Buffer.from(content)]));
}

function mixedFiles(seed: number): Files {
  return filesOf({
    ...manyDense(40, 100 * seed),
    "large-text": text(seed, 3 * MiB),
    movie: randomBytes(`movie ${seed}`, MiB),
    tiny: "tiny",
  });
}

function packUsage(): number {
  const packs = join(daemon.root, "packs");
  const sizes = readdirSync(packs).map((name) => statSync(join(packs, name)).blocks * 512);
  return sizes.reduce((sum, size) => sum + size, 0);
}

function images(): string[] {
  return readdirSync(join(daemon.root, "images")).sort();
}

function readAll(path: string): Files {
  return new Map(readdirSync(path).map((name) => [name, readFileSync(join(path, name))]));
}

function address(): string {
  return readFileSync(join(daemon.root, "api.address"), "utf8").trim();
}

/** The admin API comes last at a start: waits for it. */
async function status(): Promise<MaintenanceStatus> {
  let answer: MaintenanceStatus | undefined;
  const isAnswered = async () => {
    answer = await fetchStatus().catch(() => undefined);
    return answer !== undefined;
  };
  await waitUntil(isAnswered, "no answer of the admin API");
  return defined(answer, "the answer");
}

async function fetchStatus(): Promise<MaintenanceStatus> {
  const response = await fetch(`http://${address()}/recompress`);
  return (await response.json()) as MaintenanceStatus;
}

async function expectSound(): Promise<void> {
  await daemon.stop();
  expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
  await daemon.start();
  await status();
}

describe("dedup-snapshotter recompress", () => {
  test("tells how much there is to do, does it, and then there is nothing", async () => {
    const files = mixedFiles(1);
    await commitLayer("layer", files);
    const before = packUsage();
    await restart({ compression: "zstd" });
    expect(await daemon.cli("recompress", "--dry-run")).toContain("1 layers to rewrite");
    expect(await daemon.cli("recompress", "--wait")).toContain("ended: 1 layers rewritten");
    expect(await daemon.cli("recompress", "--dry-run")).toBe(
      "0 layers to rewrite, 0 B of content\n",
    );
    await client.cleanup();
    expect(packUsage()).toBeLessThan(before - 2 * MiB);
    expect(images()).toEqual(["2.erofs"]);
    expect(await fileDifferences(client, "layer", files)).toEqual([]);
    await expectSound();
  });

  test("leaves containers what they read, and gives the space back when they end", async () => {
    const files = mixedFiles(1);
    await commitLayer("base", files);
    await commitLayer("top", filesOf({ more: text(9, 200_000) }), "base");
    await restart({ compression: "zstd" });
    const raw = packUsage();
    const container = mounted(await client.prepare("container", "top"));
    writeFileSync(join(container.path, "own"), "own");
    await daemon.cli("recompress", "--wait");
    expect(images()).toHaveLength(4);
    expect(await daemon.cli("recompress", "--dry-run")).toStartWith("0 layers");
    const seen = readAll(container.path);
    for (const [name, content] of files) expect(seen.get(name)?.equals(content)).toBe(true);
    expect(await fileDifferences(client, "base", files)).toEqual([]);
    // Over a restart, too, which forgets who has the old layers.
    client[Symbol.dispose]();
    await expectSound();
    client = new SnapshotsClient(daemon.socket);
    expect(readAll(container.path)).toEqual(seen);
    expect(images()).toHaveLength(4);
    container[Symbol.dispose]();
    using again = mounted(await client.mounts("container"));
    expect(readAll(again.path)).toEqual(seen);
    await client.cleanup();
    expect(images()).toEqual(["3.erofs", "4.erofs"]);
    expect(packUsage()).toBeLessThan(raw - 2 * MiB);
    expect(readAll(again.path)).toEqual(seen);
  });

  test("keeps a mount valid that was answered before, until its snapshot goes", async () => {
    const files = mixedFiles(1);
    await commitLayer("base", files);
    await restart({ compression: "zstd" });
    const answered = await client.prepare("container", "base");
    await daemon.cli("recompress", "--wait");
    await client.cleanup();
    expect(images()).toEqual(["1.erofs", "2.erofs"]);
    {
      using container = mounted(answered);
      expect(readAll(container.path)).toEqual(files);
    }
    const now = await client.mounts("container");
    expect(now).not.toEqual(answered);
    {
      using container = mounted(now);
      expect(readAll(container.path)).toEqual(files);
    }
    await client.remove("container");
    await client.cleanup();
    expect(images()).toEqual(["2.erofs"]);
    await expectSound();
  });

  test("can be cancelled, and goes on after a restart where it was", async () => {
    for (const seed of [1, 2, 3]) await commitLayer(`layer-${seed}`, mixedFiles(seed));
    await restart({ compression: "zstd", bytesPerSecond: MiB });
    await daemon.cli("recompress");
    expect(await status()).toMatchObject({ running: "recompress" });
    expect(await daemon.cli("recompress", "--cancel")).toContain("ended");
    expect(await status()).toMatchObject({ running: null });
    await daemon.cli("recompress");
    await restart({ compression: "zstd" });
    await waitUntil(async () => (await status()).running === null, "it does not end");
    expect(await daemon.cli("recompress", "--dry-run")).toStartWith("0 layers");
    for (const seed of [1, 2, 3]) {
      expect(await fileDifferences(client, `layer-${seed}`, mixedFiles(seed))).toEqual([]);
    }
    await expectSound();
  });

  test("goes on beside pulls and removals, and all that is left is right", async () => {
    for (const seed of [1, 2, 3]) await commitLayer(`layer-${seed}`, mixedFiles(seed));
    await restart({ compression: "zstd" });
    const run = daemon.cli("recompress", "--wait");
    await client.remove("layer-2");
    await commitLayer("layer-4", mixedFiles(2));
    await commitLayer("layer-5", mixedFiles(3), "layer-1");
    await run;
    const expected = [1, 3, 4, 5].map(
      (number) => [number, number > 3 ? number - 2 : number] as const,
    );
    for (const [number, seed] of expected.slice(0, 3)) {
      expect(await fileDifferences(client, `layer-${number}`, mixedFiles(seed))).toEqual([]);
    }
    await daemon.cli("recompress", "--wait");
    await client.cleanup();
    expect(await daemon.cli("recompress", "--dry-run")).toStartWith("0 layers");
    await expectSound();
    await client.removeAll();
    expect(images()).toEqual([]);
    expect(readdirSync(join(daemon.root, "packs"))).toEqual([]);
  });
});

describe("the compaction", () => {
  test("frees what is dead in bundles after a deletion, under a container that reads", async () => {
    await restart({ compression: "zstd", compactionDelayMs: 0 });
    await commitLayer("first", filesOf(manyDense(200)));
    const files = filesOf(manyDense(10));
    await commitLayer("second", files);
    const container = mounted(await client.view("view", "second"));
    const before = packUsage();
    await client.remove("first");
    await waitUntil(async () => (await status()).compact.layers_done === 1, "nothing is rewritten");
    await waitUntil(async () => (await status()).running === null, "it does not end");
    expect(readAll(container.path)).toEqual(files);
    expect(await fileDifferences(client, "second", files)).toEqual([]);
    container[Symbol.dispose]();
    await client.remove("view");
    await client.cleanup();
    expect(packUsage()).toBeLessThan(before / 4);
    expect(images()).toEqual(["3.erofs"]);
    await expectSound();
  });

  test("that was cut off goes on at the next start", async () => {
    await restart({ compression: "zstd", compactionDelayMs: 0, bytesPerSecond: MiB });
    await commitLayer("first", filesOf(manyDense(2000)));
    const files = filesOf(manyDense(300));
    await commitLayer("second", files);
    await client.remove("first");
    const begun = "compacting mostly dead bundles";
    await waitUntil(async () => daemon.logMessages().includes(begun), "nothing begins");
    await daemon.kill();
    await daemon.start();
    client[Symbol.dispose]();
    client = new SnapshotsClient(daemon.socket);
    await waitUntil(async () => (await status()).compact.layers_done === 1, "nothing is rewritten");
    await waitUntil(async () => (await status()).running === null, "it does not end");
    expect(await fileDifferences(client, "second", files)).toEqual([]);
    await expectSound();
  });
});

describe("on a full disk", () => {
  beforeEach(async () => {
    await daemon.stop();
    client[Symbol.dispose]();
    const place = await mountSmallDisk(folder.path, 48 * MiB);
    await start(join(place, "d"), { compression: "zstd" });
  });

  afterEach(async () => {
    client[Symbol.dispose]();
    await daemon.kill();
    daemon.unmountLayers();
    unmountSmallDisk(folder.path);
    // What the outer hook looks at lay on the small disk.
    mkdirSync(join(daemon.root, "mounts"), { recursive: true });
  });

  test("rewriting ends with the reason, loses nothing, goes on once there is space", async () => {
    const files = filesOf({ ...manyDense(40), text: text(1, 20 * MiB) });
    await commitLayer("layer", files);
    const filler = join(folder.path, "small", "filler");
    writeFileSync(filler, Buffer.alloc(28 * MiB, 1));
    await restart({ compression: "none" });
    const before = packUsage();
    const failure = await rejection(daemon.cli("recompress", "--wait"));
    expect(String(failure)).toContain("no space left");
    // Some blocks for what the file system notes of the pack may stay.
    expect(packUsage()).toBeLessThan(before + 65_536);
    expect(await fileDifferences(client, "layer", files)).toEqual([]);
    rmSync(filler);
    await daemon.cli("recompress", "--wait");
    await client.cleanup();
    expect(packUsage()).toBeGreaterThan(20 * MiB);
    expect(await fileDifferences(client, "layer", files)).toEqual([]);
    await expectSound();
  });
});

/**
 * Layers made to do harm, applied by the compiled daemon: each becomes a right layer inside of its
 * root, is left to containerd's differ, or fails clearly; none costs more than a bounded time and
 * memory. `DEDUP_MILLION=1`: a million entries instead of 200,000.
 */
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { memoryMiB } from "../../scripts/lib/memory.ts";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import type { Mount } from "../../src/rpc/gen/containerd/types/mount.ts";
import { MiB, TiB } from "../../src/util/bytes.ts";
import { TestDaemon } from "../support/daemon.ts";
import { ContentFolder, descriptorOf, DiffClient } from "../support/diff-client.ts";
import { diskUsage } from "../support/disk-usage.ts";
import { FakeContainerd } from "../support/fake-containerd.ts";
import { sha256 } from "../support/image/oci.ts";
import { mounted } from "../support/mounted.ts";
import { Picker } from "../support/picker.ts";
import { rejection } from "../support/rejection.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";
import { emptyFiles } from "../support/tar/empty-files.ts";
import { type RawEntry, rawEntry, rawTar } from "../support/tar/raw-tar.ts";

const isMillion = process.env["DEDUP_MILLION"] === "1";
const manyFiles = isMillion ? 1_000_000 : 200_000;
/** 286 and 346 were measured. */
const peakMiBMax = isMillion ? 450 : 350;
const layerType = "application/vnd.oci.image.layer.v1.tar+zstd";
const chunkBytes = 4 * MiB;

let folder: ScratchFolder;
let containerd: FakeContainerd;
let content: ContentFolder;
let daemon: TestDaemon;
let snapshots: SnapshotsClient;
let diff: DiffClient;

beforeAll(async () => {
  folder = scratchFolder("hostile");
  const [address, root] = [join(folder.path, "c.sock"), join(folder.path, "c")];
  content = new ContentFolder(root);
  containerd = await FakeContainerd.start(address);
  const options = { containerd: { address, root }, logLevel: "info" };
  daemon = await TestDaemon.start(join(folder.path, "d"), options);
  snapshots = new SnapshotsClient(daemon.socket);
  diff = new DiffClient(daemon.socket);
  await layer("base", [{ name: "base" }]);
});

afterAll(async () => {
  try {
    const peakMiB = memoryMiB(daemon.pid, "VmHWM");
    await snapshots.removeAll();
    snapshots[Symbol.dispose]();
    diff[Symbol.dispose]();
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
    expect(peakMiB).toBeLessThan(peakMiBMax);
  } finally {
    await daemon.kill();
    await containerd[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  }
}, 60_000);

type Tar = readonly RawEntry[] | Uint8Array;

function blobOf(tar: Tar): Buffer {
  return zstdCompressSync(tar instanceof Uint8Array ? tar : rawTar(tar));
}

/** A snapshot on a layer, so that nothing waits for Commit to be found out. */
function prepare(name: string): Promise<Mount[]> {
  return snapshots.prepare(`extract ${name}`, name === "base" ? "" : "base");
}

/** Applies and commits; fails where it is not done here. */
async function layer(name: string, tar: Tar): Promise<void> {
  const blob = blobOf(tar);
  content.put(blob);
  const applied = await diff.apply(descriptorOf(blob, layerType), await prepare(name));
  expect(applied).not.toEqual(FakeContainerd.answer);
  await snapshots.commit(name, `extract ${name}`);
}

async function handedOver(name: string, tar: Tar): Promise<void> {
  const blob = blobOf(tar);
  content.put(blob);
  const mounts = await prepare(name);
  expect(await diff.apply(descriptorOf(blob, layerType), mounts)).toEqual(FakeContainerd.answer);
  await snapshots.remove(`extract ${name}`);
}

const running = async () => (await daemon.stats()).conversions.running;

const deepPath = (index: number) => `${index}/${"d/".repeat(2000)}f`;
const withPath = (path: string): RawEntry => ({ name: "f", pax: { path } });
const link = (flag: "1" | "2", name: string, linkName: string): RawEntry => ({
  name,
  flag,
  pax: { linkpath: linkName },
});

/** A file of which only some bytes are there, one at each multiple of `distance`. */
function sparseFile(sizeBytes: number, runs: number, distance: number): RawEntry {
  const map = Array.from({ length: runs }, (_, index) => `${index * distance},1`).join(",");
  const size = { "GNU.sparse.numblocks": `${runs}`, "GNU.sparse.size": `${sizeBytes}` };
  return { name: "s", pax: { "GNU.sparse.map": map, ...size }, content: "x".repeat(runs) };
}

describe("a hostile layer", () => {
  test("leads nowhere outside by its paths and links", async () => {
    const up = "../".repeat(40);
    const out = folder.path.slice(1);
    await layer("paths", [
      withPath(`${up}${out}/by-name`),
      withPath(`/${out}/absolute`),
      withPath(`a/${up}${out}/inside`),
      link("2", "root", "/"),
      withPath(`root/${out}/by-symlink`),
      link("2", "up", up),
      withPath(`up/${out}/by-relative-symlink`),
    ]);
    using view = mounted(await snapshots.view("view paths", "paths"));
    const names = readdirSync(join(view.path, out)).sort();
    const inside = ["absolute", "by-name", "by-relative-symlink", "by-symlink", "inside"];
    expect(names).toEqual(inside);
    for (const name of inside) expect(existsSync(join(folder.path, name))).toBe(false);
  });

  const loop = [link("2", "a", "b"), link("2", "b", "a"), { name: "a/f" }];
  const manyNames = Array.from({ length: 600 }, (_, index) => withPath(deepPath(index)));
  const dotted: RawEntry = { name: "d", flag: "5", pax: { path: `${"./".repeat(2000)}d` } };
  const longNames = Buffer.concat(Array.from({ length: 17_000 }, () => rawEntry(dotted)));
  test.each<[string, Tar]>([
    ["with a loop of symlinks", loop],
    ["with a hard link to a file outside", [link("1", "l", "../../../../etc/passwd")]],
    ["with a hard link to itself", [link("1", "l", "l")]],
    ["with a million directories that only paths name", manyNames],
    ["with gigabytes of names, of which nothing is left", longNames],
    ["with a path longer than any file system takes", [withPath(`${"a/../".repeat(1000)}f`)]],
    [
      "that ends within an entry",
      rawTar([{ name: "f", content: "x".repeat(2000) }]).subarray(0, 1000),
    ],
  ])(
    "%s is left to containerd",
    async (name, tar) => {
      await handedOver(name, tar);
    },
    60_000,
  );

  test("has as many entries in one directory as a real one may", async () => {
    await layer(
      "many",
      Buffer.concat([...emptyFiles(manyFiles).map((piece) => Buffer.from(piece)), rawTar([])]),
    );
    using view = mounted(await snapshots.view("view many", "many"));
    expect(statSync(join(view.path, `f${String(manyFiles - 1).padStart(7, "0")}`)).size).toBe(0);
  }, 180_000);

  test("has a file of a tebibyte that holds a few bytes", async () => {
    await layer("tebibyte", [sparseFile(TiB, 3, TiB / 4)]);
    using view = mounted(await snapshots.view("view tebibyte", "tebibyte"));
    expect(statSync(join(view.path, "s")).size).toBe(TiB);
  });

  test("has a bomb of zeros, which take next to no space", async () => {
    const bomb = rawTar([{ name: "bomb", content: Buffer.alloc(64 * MiB) }]);
    await layer("bomb", Buffer.concat([bomb, Buffer.alloc(16 * MiB)]));
    expect(await diskUsage(join(daemon.root, "packs"))).toBeLessThan(16 * MiB);
  });

  test("asks for hours of hashing, and is given up with the call", async () => {
    const blob = blobOf([sparseFile(TiB, 60_000, chunkBytes)]);
    content.put(blob);
    const mounts = await prepare("hours");
    const controller = new AbortController();
    const given = rejection(diff.apply(descriptorOf(blob, layerType), mounts, controller.signal));
    await waitUntil(async () => (await running()) === 1, "it does not begin");
    controller.abort();
    expect(await given).toMatchObject({ code: status.CANCELLED });
    await waitUntil(async () => (await running()) === 0, "it goes on");
  });

  test("is refused with a flipped bit or cut off anywhere, and a right one follows", async () => {
    const tar = rawTar([{ name: "f", content: "text ".repeat(5000) }, withPath("n".repeat(200))]);
    const right = blobOf(tar);
    const digest = sha256(right);
    const picker = new Picker("bits");
    const descriptor = { ...descriptorOf(right, layerType), digest };
    const mounts = await prepare("bits");
    for (let attempt = 0; attempt < 20; attempt++) {
      const wrong = Buffer.from(right);
      const at = picker.integer(right.length);
      wrong[at]! ^= 1 << picker.integer(8);
      for (const bytes of [wrong, right.subarray(0, at)]) {
        content.put(bytes, digest);
        const refused = await rejection(diff.apply(descriptor, mounts));
        expect(refused).toMatchObject({ code: status.DATA_LOSS });
      }
    }
    content.put(right, digest);
    expect((await diff.apply(descriptor, mounts))?.digest).toBe(sha256(tar));
  });

  test("with a flipped bit of its tar is a layer, or is left to containerd", async () => {
    const tar = rawTar([{ name: "f", content: "text" }, withPath("d/n"), link("2", "s", "f")]);
    const picker = new Picker("tar");
    for (let attempt = 0; attempt < 20; attempt++) {
      const wrong = Buffer.from(tar);
      wrong[picker.integer(tar.length)]! ^= 1 << picker.integer(8);
      const blob = blobOf(wrong);
      content.put(blob);
      const mounts = await prepare(`flipped ${attempt}`);
      const applied = await diff.apply(descriptorOf(blob, layerType), mounts);
      expect([sha256(wrong), FakeContainerd.answer.digest]).toContain(applied?.digest ?? "");
    }
  });
});

/**
 * Layers applied from blobs by the compiled daemon, with the kernel showing what came of it, and
 * with a fake in the place of containerd.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { status } from "@grpc/grpc-js";
import { readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import type { Descriptor } from "../../src/rpc/gen/containerd/types/descriptor.ts";
import { GiB, KiB, MiB } from "../../src/util/bytes.ts";
import { TestDaemon } from "../support/daemon.ts";
import { ContentFolder, descriptorOf, DiffClient } from "../support/diff-client.ts";
import { diskUsage } from "../support/disk-usage.ts";
import { FakeContainerd } from "../support/fake-containerd.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import { directory, file, hardLink, type Layer } from "../support/image/layer.ts";
import { expectedTree, treeDifferences } from "../support/image/model.ts";
import { sha256 } from "../support/image/oci.ts";
import { writeTar } from "../support/image/tar.ts";
import { mounted } from "../support/mounted.ts";
import { randomBytes } from "../support/random.ts";
import { rejection } from "../support/rejection.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";
import { rawHeader, rawTar } from "../support/tar/raw-tar.ts";
import { readTree } from "../support/tree.ts";

let folder: ScratchFolder;
let daemon: TestDaemon;
let containerd: FakeContainerd;
let content: ContentFolder;
let snapshots: SnapshotsClient;
let diff: DiffClient;

function connect(): void {
  snapshots = new SnapshotsClient(daemon.socket);
  diff = new DiffClient(daemon.socket);
}

function disconnect(): void {
  snapshots[Symbol.dispose]();
  diff[Symbol.dispose]();
}

beforeEach(async () => {
  folder = scratchFolder("apply");
  const address = join(folder.path, "c.sock");
  const root = join(folder.path, "c");
  content = new ContentFolder(root);
  containerd = await FakeContainerd.start(address);
  daemon = await TestDaemon.start(join(folder.path, "d"), {
    idleTimeoutMs: 0,
    containerd: { address, root },
  });
  connect();
});

afterEach(async () => {
  try {
    await snapshots.removeAll();
    disconnect();
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
  } finally {
    await daemon.kill();
    await containerd[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  }
});

async function expectNothingStored(): Promise<void> {
  expect(readdirSync(join(daemon.root, "images"))).toEqual([]);
  expect(await diskUsage(join(daemon.root, "packs"))).toBeLessThan(64 * KiB);
}

/** Prepares, applies and commits a blob as the layer `name`; resolves with what Apply answered. */
async function pull(
  name: string,
  parent: string,
  blob: Uint8Array,
  mediaType?: string,
): Promise<Descriptor | undefined> {
  content.put(blob);
  const mounts = await snapshots.prepare(`extract ${name}`, parent);
  const applied = await diff.apply(descriptorOf(blob, mediaType), mounts);
  await snapshots.commit(name, `extract ${name}`);
  return applied;
}

async function differences(name: string, layers: readonly Layer[]): Promise<string[]> {
  using view = mounted(await snapshots.view(`view ${name}`, name));
  return treeDifferences(expectedTree(layers, "ours"), readTree(view.path));
}

const simple: Layer = [
  directory(""),
  directory("data"),
  file("data/small", "a few bytes\n"),
  file("data/large", randomBytes("large", 3_000_000)),
  hardLink("data/linked", "data/large"),
];
const simpleTar = writeTar(simple);
const simpleBlob = gzipSync(simpleTar, { level: 1 });
const ociTar = "application/vnd.oci.image.layer.v1.tar";
const dockerTar = "application/vnd.docker.image.rootfs.diff.tar";

function cut(bytes: Uint8Array): [Uint8Array, Uint8Array] {
  const half = Math.floor(bytes.length / 2);
  return [bytes.subarray(0, half), bytes.subarray(half)];
}

describe("Apply", () => {
  test("makes layers that look as the tars say", async () => {
    const layers = hardCaseLayers();
    let parent = "";
    for (const [index, layer] of layers.entries()) {
      const tar = writeTar(layer);
      const applied = await pull(`layer ${index}`, parent, gzipSync(tar, { level: 1 }));
      expect(applied).toEqual(descriptorOf(tar, ociTar));
      parent = `layer ${index}`;
    }
    expect(await differences(parent, layers)).toEqual([]);
    const { conversions } = await daemon.stats();
    expect(conversions).toMatchObject({ done: layers.length, failed: 0, running: 0 });
    expect(containerd.applied).toEqual([]);
  });

  const [head, tail] = cut(simpleTar);
  test.each<[string, string, Buffer]>([
    ["a plain tar", ociTar, simpleTar],
    ["gzip", `${ociTar}+gzip`, simpleBlob],
    [
      "gzip of several members",
      `${dockerTar}.gzip`,
      Buffer.concat([gzipSync(head), gzipSync(tail)]),
    ],
    ["zstd", `${ociTar}+zstd`, zstdCompressSync(simpleTar)],
    [
      "zstd of several frames",
      `${dockerTar}.zstd`,
      Buffer.concat([zstdCompressSync(head), zstdCompressSync(tail)]),
    ],
    ["another compression than its type says", ociTar, simpleBlob],
    ["bytes behind the archive", ociTar, Buffer.concat([simpleTar, Buffer.alloc(10_000, "x")])],
  ])("reads %s", async (_, mediaType, blob) => {
    const isTar = mediaType === ociTar && blob !== simpleBlob;
    const applied = await pull("layer", "", blob, mediaType);
    expect(applied?.digest).toBe(sha256(isTar ? blob : simpleTar));
    expect(await differences("layer", [simple])).toEqual([]);
    expect(containerd.applied).toEqual([]);
  });

  test("asks containerd for a blob that is no file", async () => {
    containerd.blobs.set(sha256(simpleBlob), simpleBlob);
    const mounts = await snapshots.prepare("k", "");
    await diff.apply(descriptorOf(simpleBlob), mounts);
    await snapshots.commit("layer", "k");
    expect(await differences("layer", [simple])).toEqual([]);
    const mountsOfLost = await snapshots.prepare("lost", "");
    const lost = diff.apply(descriptorOf(Buffer.from("lost")), mountsOfLost);
    expect(await rejection(lost)).toMatchObject({ code: status.NOT_FOUND });
  });

  test("takes from the layers below what the tar leaves to them", async () => {
    const [base, other] = [0o701, 0o750].map((mode) => [
      directory(""),
      directory("data", { mode, uid: 7, gid: 8, mtimeNs: 1_234_567_890_000_000_001n }),
      file("data/large", randomBytes(`large ${mode}`, 300_000)),
    ]);
    if (base === undefined || other === undefined) throw new Error("two layers are two");
    await pull("base", "", writeTar(base), ociTar);
    await pull("other", "", writeTar(other), ociTar);
    const above = rawTar([
      { name: "data/linked", flag: "1", linkName: "data/large", mode: 0o640 },
      { name: "data/new", content: "in a directory that is not in the tar\n" },
    ]);
    for (const [parent, layer] of [
      ["base", base],
      ["other", other],
    ] as const) {
      await pull(`above ${parent}`, parent, above, ociTar);
      using view = mounted(await snapshots.view(`view ${parent}`, `above ${parent}`));
      const [before, after] = [expectedTree([layer], "ours"), readTree(view.path)];
      expect(after.get("data")).toEqual(before.get("data"));
      expect(after.get("data/large")).toEqual(before.get("data/large"));
      expect(after.get("data/linked")?.content).toBe(before.get("data/large")?.content ?? "");
      expect(after.get("data/linked")?.mode).toBe("0640");
      expect([...after.keys()]).toEqual(["", "data", "data/large", "data/linked", "data/new"]);
    }
    expect((await daemon.stats()).conversions).toMatchObject({ done: 4, skipped: 0 });
    expect(containerd.applied).toEqual([]);
  });

  test("builds a layer once, whoever wants it", async () => {
    await pull("first", "", simpleBlob);
    content.remove(sha256(simpleBlob));
    await snapshots.commit("below", (await snapshots.prepare("b", ""), "b"));
    const mounts = await snapshots.prepare("k", "below");
    expect(await diff.apply(descriptorOf(simpleBlob), mounts)).toEqual(
      descriptorOf(simpleTar, ociTar),
    );
    await snapshots.commit("second", "k");
    expect((await daemon.stats()).conversions).toMatchObject({ done: 2, skipped: 1 });
    expect(daemon.logMessages()).toContain(
      `layer ${sha256(simpleBlob)} already has erofs image, skip conversion`,
    );
    await snapshots.remove("first");
    expect(await differences("second", [simple])).toEqual([]);
    await snapshots.removeAll();
    content.put(simpleBlob);
    await pull("third", "", simpleBlob);
    expect((await daemon.stats()).conversions).toMatchObject({ done: 3, skipped: 1 });
  });

  test.each<[string, (image: string) => void]>([
    ["gone", (image) => rmSync(image)],
    ["cut off", (image) => truncateSync(image, 4096)],
  ])("builds a layer again whose image is %s, and so repairs the old one", async (_, damage) => {
    await pull("first", "", simpleBlob);
    damage(join(daemon.root, "images", "1.erofs"));
    await pull("second", "", simpleBlob);
    expect((await daemon.stats()).conversions).toMatchObject({ done: 2, skipped: 0 });
    expect(daemon.logMessages()).toContain("an image was damaged, it was written again");
    expect(await differences("second", [simple])).toEqual([]);
    expect(await differences("first", [simple])).toEqual([]);
    await pull("third", "", simpleBlob);
    expect((await daemon.stats()).conversions).toMatchObject({ done: 2, skipped: 1 });
  });

  test("builds a layer once when several want it at the same time", async () => {
    await Promise.all([0, 1, 2, 3].map((index) => pull(`layer ${index}`, "", simpleBlob)));
    const { conversions, images } = await daemon.stats();
    expect(conversions).toMatchObject({ done: 1, skipped: 3, failed: 0 });
    expect(images.count).toBe(1);
  });

  test("shows what was applied before it is committed, also after a kill", async () => {
    content.put(simpleBlob);
    await diff.apply(descriptorOf(simpleBlob), await snapshots.prepare("k", ""));
    disconnect();
    await daemon.kill();
    await daemon.start();
    connect();
    {
      using view = mounted(await snapshots.mounts("k"));
      expect(treeDifferences(expectedTree([simple], "ours"), readTree(view.path))).toEqual([]);
    }
    await snapshots.commit("layer", "k");
    expect(await differences("layer", [simple])).toEqual([]);
  });

  test("stops when the client is gone, and leaves nothing", async () => {
    // Small as a blob, seconds of work as a tar.
    const header = rawHeader({ name: "zeros", sizeBytes: 8 * GiB });
    const zeros = zstdCompressSync(Buffer.alloc(64 * MiB));
    const frames = Array.from({ length: 128 }, () => zeros);
    const blob = Buffer.concat([zstdCompressSync(header), ...frames]);
    content.put(blob);
    const mounts = await snapshots.prepare("k", "");
    const controller = new AbortController();
    const applied = rejection(diff.apply(descriptorOf(blob), mounts, controller.signal));
    await waitUntil(async () => (await daemon.stats()).conversions.running === 1, "it starts");
    controller.abort();
    expect(await applied).toMatchObject({ code: status.CANCELLED });
    await waitUntil(async () => (await daemon.stats()).conversions.running === 0, "it stops");
    expect((await daemon.stats()).conversions).toMatchObject({ done: 0, failed: 1 });
    await expectNothingStored();
  });

  test("refuses to commit what was written after it", async () => {
    content.put(simpleBlob);
    await diff.apply(descriptorOf(simpleBlob), await snapshots.prepare("k", ""));
    {
      using view = mounted(await snapshots.mounts("k"));
      writeFileSync(join(view.path, "more"), "more");
    }
    expect(await rejection(snapshots.commit("layer", "k"))).toMatchObject({
      code: status.FAILED_PRECONDITION,
    });
  });
});

describe("Apply of a wrong blob", () => {
  const flipped = Buffer.from(simpleBlob);
  flipped.writeUInt8(flipped.readUInt8(1_000_000) ^ 1, 1_000_000);
  const flippedTar = Buffer.from(simpleTar);
  flippedTar.writeUInt8(flippedTar.readUInt8(2_000_000) ^ 1, 2_000_000);
  const other = gzipSync(writeTar([directory(""), file("other", "content")]));

  test.each<[string, Buffer, Buffer]>([
    ["with a flipped byte", simpleBlob, flipped],
    ["with a flipped byte in a plain tar", simpleTar, flippedTar],
    ["that is another one of the same size", simpleBlob, Buffer.alloc(simpleBlob.length)],
    ["that is cut off", simpleBlob, simpleBlob.subarray(0, -100)],
    ["that is longer", simpleBlob, Buffer.concat([simpleBlob, Buffer.alloc(9)])],
    ["of another layer", simpleBlob, other],
  ])("refuses one %s and leaves nothing", async (_, right, wrong) => {
    content.put(wrong, sha256(right));
    const mounts = await snapshots.prepare("k", "");
    const refused = await rejection(diff.apply(descriptorOf(right), mounts));
    expect(refused).toMatchObject({ code: status.DATA_LOSS });
    await expectNothingStored();
    expect(readdirSync(mounts[0]?.source ?? "")).toEqual([]);
    expect(containerd.applied).toEqual([]);
    content.put(right);
    await diff.apply(descriptorOf(right), mounts);
    await snapshots.commit("layer", "k");
    expect(await differences("layer", [simple])).toEqual([]);
  });

  test("refuses one that containerd serves wrong", async () => {
    containerd.blobs.set(sha256(simpleBlob), simpleBlob.subarray(0, -5));
    const mounts = await snapshots.prepare("k", "");
    const cutOff = await rejection(diff.apply(descriptorOf(simpleBlob), mounts));
    expect(cutOff).toMatchObject({ code: status.DATA_LOSS });
    containerd.blobs.set(sha256(simpleBlob), flipped);
    const changed = await rejection(diff.apply(descriptorOf(simpleBlob), mounts));
    expect(changed).toMatchObject({ code: status.DATA_LOSS });
    await expectNothingStored();
  });
});

/** Applies a right blob that the daemon is expected not to apply itself. */
async function handedOver(blob: Buffer, mediaType?: string): Promise<void> {
  content.put(blob);
  const mounts = await snapshots.prepare(crypto.randomUUID(), "");
  const descriptor = descriptorOf(blob, mediaType);
  expect(await diff.apply(descriptor, mounts)).toEqual(FakeContainerd.answer);
  expect(containerd.applied.at(-1)?.request).toMatchObject({ diff: descriptor, mounts });
  await expectNothingStored();
}

describe("Apply hands to containerd", () => {
  test("a type it does not know", () => handedOver(simpleBlob, "application/octet-stream"));

  test("a blob that is as it should be, but no tar", async () => {
    await handedOver(gzipSync(Buffer.alloc(10_000, "no tar")));
    await handedOver(gzipSync(simpleTar.subarray(0, 1_000_000)));
    await handedOver(simpleBlob.subarray(0, -100));
    expect((await daemon.stats()).conversions).toMatchObject({ done: 0, failed: 3 });
  });

  test("mounts that are not ours", async () => {
    content.put(simpleBlob);
    const mounts = [{ type: "bind", source: folder.path, target: "", options: ["rw"] }];
    const answer = await diff.apply(descriptorOf(simpleBlob), mounts);
    expect(answer).toEqual(FakeContainerd.answer);
  });

  test("what others have written to before", async () => {
    content.put(simpleBlob);
    const mounts = await snapshots.prepare("k", "");
    writeFileSync(join(mounts[0]?.source ?? "", "file"), "");
    const answer = await diff.apply(descriptorOf(simpleBlob), mounts);
    expect(answer).toEqual(FakeContainerd.answer);
  });
});

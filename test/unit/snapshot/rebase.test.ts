import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { AppError } from "../../../src/errors.ts";
import type { Labels } from "../../../src/snapshot/contract.ts";
import { rejection } from "../../support/rejection.ts";
import { blobOf, noLabels, plainCommit, TestNode } from "./fakes.ts";

const failure = (code: string) => expect.objectContaining({ code });
const { signal } = new AbortController();
const onBase = { labels: noLabels, parent: "base" };
/** As containerd 2.3 labels what it unpacks; 2.2 leaves the last one out. */
const unpacked = new Map([["containerd.io/snapshot.ref", "sha256:top"]]);
const detached = new Map([...unpacked, ["containerd.io/snapshot/parent-chain-id", "sha256:base"]]);
const needsLower = new AppError("failed_precondition", "needs what is below");

/** A committed `base`, and `k` with a blob applied, prepared without a parent. */
async function prepared(node: TestNode, labels: Labels): Promise<void> {
  await node.layer("base");
  const mounts = await node.snapshotter.prepare("k", "", labels);
  await node.snapshotter.applyBlob(mounts, blobOf("blob"), signal);
}

function made(layerId: number) {
  const blob = { diffId: "sha256:tar of blob", tarBytes: 10_240 };
  return { layerId, addedBytes: 0, inodes: 3, reused: true, ...blob };
}

describe("Commit of an applied layer on a parent it was prepared without", () => {
  test("takes the layer that Apply made, where it is the same on the parent", async () => {
    await using node = new TestNode();
    await prepared(node, detached);
    const root = expect.objectContaining({ mode: 0o040755 });
    expect(node.layerStore.applied[0]?.base).toEqual({ root, lower: "unknown" });
    node.layerStore.known.set("blob", made(102));
    await node.snapshotter.commit("top", "k", onBase);
    expect(node.snapshotter.stat("top")).toMatchObject({
      parent: "base",
      layer: { kind: "image", layerId: 102 },
      usage: { sizeBytes: 4096, inodes: 3 },
    });
    await node.snapshotter.close();
    expect(node.layerStore.applied).toHaveLength(1);
    expect(node.metadata.isLayerReferenced(102)).toBe(true);
  });

  test.each([
    ["said to lie on another", detached],
    ["not said to", unpacked],
    ["without labels", noLabels],
  ])("makes it again on the parent where it is another one there: %s", async (_, labels) => {
    await using node = new TestNode();
    await prepared(node, labels);
    await node.snapshotter.commit("top", "k", onBase);
    const { base } = node.layerStore.applied[1]!;
    expect(base.lower).toEqual([node.mounts.directory(101)]);
    expect(node.snapshotter.stat("top")).toMatchObject({ layer: { layerId: 103 } });
    await node.snapshotter.close();
    expect(node.layerStore.released).toEqual([102]);
    expect(node.layerStore.settled).toEqual([101, 102, 103]);
    expect([...node.mounts.held.keys()]).toEqual([]);
  });

  test("makes it only then, where Apply cannot, also after a restart", async () => {
    await using node = new TestNode();
    node.layerStore.failure = undefined;
    await node.layer("base");
    const mounts = await node.snapshotter.prepare("k", "", detached);
    const apply = () => node.snapshotter.applyBlob(mounts, blobOf("blob"), signal);
    node.layerStore.failure = needsLower;
    expect(await apply()).toEqual({ diffId: "sha256:tar of blob", tarBytes: 10_240 });
    expect(await apply()).toMatchObject({ tarBytes: 10_240 });
    const other = node.snapshotter.applyBlob(mounts, blobOf("other"), signal);
    expect(await rejection(other)).toEqual(failure("failed_precondition"));
    node.layerStore.failure = undefined;
    await node.restart();
    await node.snapshotter.commit("top", "k", onBase);
    expect(node.layerStore.applied.at(-1)).toMatchObject({
      blob: { digest: "blob" },
      base: { lower: [node.mounts.directory(101)] },
    });
    expect(node.snapshotter.stat("top")).toMatchObject({
      layer: { kind: "image", layerId: 102 },
      usage: { sizeBytes: 4096, inodes: 3 },
      appliedBlob: undefined,
    });
  });

  test("makes it as a first layer where it gets no parent in the end", async () => {
    await using node = new TestNode();
    await prepared(node, detached);
    await node.snapshotter.commit("top", "k", plainCommit);
    expect(node.layerStore.applied[1]?.base.lower).toEqual([]);
  });

  test("leaves everything as it was where it cannot be made", async () => {
    await using node = new TestNode();
    await prepared(node, detached);
    node.layerStore.failure = new AppError("data_loss", "damaged");
    const commit = () => node.snapshotter.commit("top", "k", onBase);
    expect(await rejection(commit())).toEqual(failure("data_loss"));
    expect(node.snapshotter.stat("k")).toMatchObject({ kind: "active", appliedLayerId: 102 });
    node.layerStore.failure = undefined;
    await commit();
  });

  test("refuses what somebody else unpacked without keeping deletions", async () => {
    await using node = new TestNode();
    await node.layer("base");
    const unpack = async (key: string, labels: Labels) => {
      await node.snapshotter.prepare(key, "", labels);
      writeFileSync(join(node.upper(key), "file"), "");
    };
    await unpack("lost", unpacked);
    const commit = (key: string) => node.snapshotter.commit(`top ${key}`, key, onBase);
    expect(await rejection(commit("lost"))).toEqual(failure("failed_precondition"));
    await unpack("kept", detached);
    await commit("kept");
    await unpack("written", noLabels);
    await commit("written");
  });
});

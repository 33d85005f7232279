import { describe, expect, test } from "bun:test";
import { chmodSync, chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AppliedBlob, LayerBlob, Mount } from "../../../src/snapshot/contract.ts";
import { snapshotIdOf } from "../../../src/snapshot/apply.ts";
import { SnapshotDirectories } from "../../../src/snapshot/directories.ts";
import { rejection } from "../../support/rejection.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { FakeTrees, noLabels, plainCommit, TestNode } from "./fakes.ts";

const failure = (code: string) => expect.objectContaining({ code });
const { signal } = new AbortController();

function blobOf(name: string): LayerBlob {
  return { digest: name, sizeBytes: 1, file: name, read: async () => new Uint8Array(1) };
}

function bind(source: string): Mount {
  return { type: "bind", source, options: ["rw", "rbind"] };
}

function overlay(...options: string[]): Mount {
  return { type: "overlay", source: "overlay", options };
}

function apply(
  node: TestNode,
  mounts: readonly Mount[],
  name = "blob",
): Promise<AppliedBlob | undefined> {
  return node.snapshotter.applyBlob(mounts, blobOf(name), signal);
}

describe("snapshotIdOf()", () => {
  using scratch = scratchFolder("unit");
  const directories = new SnapshotDirectories(scratch.path, new FakeTrees());
  const upper = directories.upper(7);

  test("knows our directory in a bind and in an overlay", () => {
    expect(snapshotIdOf(directories, [bind(upper)])).toBe(7);
    const own = overlay("index=off", `upperdir=${upper}`, "lowerdir=/a:/b");
    expect(snapshotIdOf(directories, [own])).toBe(7);
  });

  test.each<[string, readonly Mount[]]>([
    ["no mount", []],
    ["two mounts", [bind(upper), bind(upper)]],
    ["another folder", [bind("/var/lib/other/snapshots/7/fs")]],
    ["a folder below", [bind(`${upper}/etc`)]],
    ["the work folder", [bind(directories.work(7))]],
    ["a way around", [bind(`${directories.path}/8/../7/fs`)]],
    ["no number", [bind(`${directories.path}/x/fs`)]],
    ["our directory as a lower one", [overlay(`lowerdir=${upper}:/b`)]],
    ["an overlay whose source is ours", [{ type: "overlay", source: upper, options: [] }]],
  ])("takes %s for none of ours", (_, mounts) => {
    expect(snapshotIdOf(directories, mounts)).toBeUndefined();
  });
});

describe("Snapshotter.applyBlob()", () => {
  test("gives the snapshot a layer that Commit publishes without another conversion", async () => {
    await using node = new TestNode();
    await node.layer("base");
    const mounts = await node.snapshotter.prepare("k", "base", noLabels);
    expect(await apply(node, mounts)).toEqual({ diffId: "sha256:tar of blob", tarBytes: 10_240 });
    expect(node.layerStore.settled).toEqual([101, 102]);
    await node.snapshotter.commit("layer", "k", plainCommit);
    expect(node.snapshotter.stat("layer")).toMatchObject({
      kind: "committed",
      layer: { kind: "image", layerId: 102 },
      appliedLayerId: undefined,
      usage: { sizeBytes: 4096, inodes: 3 },
    });
    expect(node.layerStore.converted).toHaveLength(2);
    expect(node.layerStore.settled).toEqual([101, 102]);
    await node.snapshotter.close();
    expect(node.layerStore.released).toEqual([]);
  });

  test("tells what the layer lies on", async () => {
    await using node = new TestNode();
    await node.layer("base");
    node.layerStore.failure = new Error("no image of this one");
    await node.layer("plain", "base");
    node.layerStore.failure = undefined;
    const mounts = await node.snapshotter.prepare("k", "plain", noLabels);
    chownSync(node.upper("k"), 5, 6);
    chmodSync(node.upper("k"), 0o1770);
    await apply(node, mounts);
    expect(node.layerStore.applied[0]?.base).toEqual({
      root: { mode: 0o041770, uid: 5, gid: 6 },
      lower: [join(node.root, "snapshots", "2", "fs"), node.mounts.directory(101)],
    });
  });

  test("shows the layer in mounts before it is committed", async () => {
    await using node = new TestNode();
    await node.layer("base");
    await apply(node, await node.snapshotter.prepare("k", "base", noLabels));
    const [mount] = await node.snapshotter.mounts("k");
    const lower = [102, 101].map((layerId) => node.mounts.directory(layerId)).join(":");
    expect(mount?.options).toContain(`lowerdir=${lower}`);
    expect(mount?.options).toContain(`upperdir=${node.upper("k")}`);
    expect([...node.mounts.held.values()]).toEqual([[102, 101]]);
    expect(node.snapshotter.layersInUse()).toEqual(
      new Map([
        [101, ["snapshot-2"]],
        [102, ["snapshot-2"]],
      ]),
    );
  });

  test("leaves to others what is not an untouched active snapshot of ours", async () => {
    await using node = new TestNode();
    await node.layer("base");
    const view = await node.snapshotter.view("v", "base", noLabels);
    expect(await apply(node, view)).toBeUndefined();
    expect(
      await apply(node, [{ type: "bind", source: "/elsewhere", options: [] }]),
    ).toBeUndefined();
    const touched = await node.snapshotter.prepare("touched", "base", noLabels);
    writeFileSync(join(node.upper("touched"), "file"), "");
    expect(await apply(node, touched)).toBeUndefined();
    const committed = await node.snapshotter.prepare("k", "", noLabels);
    await node.snapshotter.commit("layer", "k", plainCommit);
    expect(await apply(node, committed)).toBeUndefined();
    expect(node.layerStore.applied).toEqual([]);
  });

  test("leaves everything to others where conversion is switched off", async () => {
    await using node = new TestNode({ conversionEnabled: false });
    expect(await apply(node, await node.snapshotter.prepare("k", "", noLabels))).toBeUndefined();
  });

  test("answers the same blob again, and no other", async () => {
    await using node = new TestNode();
    const mounts = await node.snapshotter.prepare("k", "", noLabels);
    node.layerStore.next = { layerId: 7 };
    await apply(node, mounts);
    expect(await apply(node, mounts)).toMatchObject({ tarBytes: 10_240 });
    node.layerStore.next = { layerId: 8 };
    expect(await rejection(apply(node, mounts, "other"))).toEqual(failure("failed_precondition"));
    await node.snapshotter.close();
    expect(node.layerStore.settled).toEqual([7, 7, 8]);
    expect(node.layerStore.released).toEqual([8]);
    expect(node.metadata.find("k")?.appliedLayerId).toBe(7);
  });

  test("leaves the snapshot as it was when it fails", async () => {
    await using node = new TestNode();
    const mounts = await node.snapshotter.prepare("k", "", noLabels);
    node.layerStore.failure = new Error("no space");
    expect(await rejection(apply(node, mounts))).toEqual(new Error("no space"));
    expect(node.metadata.find("k")?.appliedLayerId).toBeUndefined();
    node.layerStore.failure = undefined;
    await apply(node, mounts);
    expect(node.metadata.find("k")?.appliedLayerId).toBe(101);
  });

  test("drops the layer if the snapshot cannot take it", async () => {
    await using node = new TestNode();
    const mounts = await node.snapshotter.prepare("k", "", noLabels);
    node.metadata.apply = () => {
      throw new Error("disk I/O error");
    };
    expect(await rejection(apply(node, mounts))).toEqual(new Error("disk I/O error"));
    await node.snapshotter.close();
    expect(node.layerStore.settled).toEqual([101]);
    expect(node.layerStore.released).toEqual([101]);
  });

  test("lets a removal or commit of the snapshot wait for its end", async () => {
    await using node = new TestNode();
    const mounts = await node.snapshotter.prepare("k", "", noLabels);
    const gate = Promise.withResolvers<void>();
    node.layerStore.gate = gate.promise;
    const applied = apply(node, mounts);
    const committed = node.snapshotter.commit("layer", "k", plainCommit);
    const late = rejection(apply(node, mounts));
    gate.resolve();
    await applied;
    await committed;
    expect(await late).toEqual(failure("not_found"));
    expect(node.snapshotter.stat("layer")).toMatchObject({ layer: { layerId: 101 } });
  });

  test("refuses to commit what was written on top, and loses none of it", async () => {
    await using node = new TestNode();
    await apply(node, await node.snapshotter.prepare("k", "", noLabels));
    const file = join(node.upper("k"), "file");
    writeFileSync(file, "on top");
    const commit = () => node.snapshotter.commit("layer", "k", plainCommit);
    expect(await rejection(commit())).toEqual(failure("failed_precondition"));
    expect(node.metadata.find("k")?.appliedLayerId).toBe(101);
    expect(await Bun.file(file).text()).toBe("on top");
  });

  test("refuses to commit a layer that was built for no parent on one", async () => {
    await using node = new TestNode();
    await node.layer("base");
    await apply(node, await node.snapshotter.prepare("k", "", noLabels));
    const rebase = node.snapshotter.commit("layer", "k", { labels: noLabels, parent: "base" });
    expect(await rejection(rebase)).toEqual(failure("failed_precondition"));
    await node.snapshotter.commit("layer", "k", plainCommit);
  });

  test("survives a restart between Apply and Commit", async () => {
    await using node = new TestNode();
    await apply(node, await node.snapshotter.prepare("k", "", noLabels));
    await node.restart();
    expect(node.metadata.isLayerReferenced(101)).toBe(true);
    expect(node.metadata.layerReferences()).toEqual(new Map([[101, 1]]));
    await node.snapshotter.commit("layer", "k", plainCommit);
    await node.restart();
    expect(node.snapshotter.stat("layer")).toMatchObject({ layer: { layerId: 101 } });
    expect(node.layerStore.released).toEqual([]);
  });

  test("has Commit publish a layer that was given another number meanwhile", async () => {
    await using node = new TestNode();
    await apply(node, await node.snapshotter.prepare("k", "", noLabels));
    const { metadata } = node;
    const find = metadata.find.bind(metadata);
    metadata.find = (name) => {
      // After the checks of the commit, before what it waits for then.
      queueMicrotask(() => metadata.moveLayer(101, 900));
      return find(name);
    };
    await node.snapshotter.commit("layer", "k", plainCommit);
    expect(node.snapshotter.stat("layer")).toMatchObject({ layer: { layerId: 900 } });
  });

  test("knows the same blob again whose layer was given another number meanwhile", async () => {
    await using node = new TestNode();
    const mounts = await node.snapshotter.prepare("k", "", noLabels);
    await apply(node, mounts);
    node.layerStore.next = { layerId: 900 };
    node.layerStore.gate = Promise.resolve().then(() => node.metadata.moveLayer(101, 900));
    expect(await apply(node, mounts)).toMatchObject({ tarBytes: 10_240 });
  });

  test("gives the layer up with the snapshot", async () => {
    await using node = new TestNode();
    await apply(node, await node.snapshotter.prepare("k", "", noLabels));
    await node.snapshotter.remove("k");
    await node.snapshotter.close();
    expect(node.layerStore.released).toEqual([101]);
    expect(await node.snapshotter.cleanup()).toBeUndefined();
  });

  test("counts the layer in the usage of the active snapshot", async () => {
    await using node = new TestNode();
    await apply(node, await node.snapshotter.prepare("k", "", noLabels));
    const { sizeBytes, inodes } = await node.snapshotter.usage("k");
    expect(sizeBytes).toBeGreaterThanOrEqual(4096);
    expect(inodes).toBeGreaterThanOrEqual(3);
  });
});

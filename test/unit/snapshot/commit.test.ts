import { describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AppError } from "../../../src/errors.ts";
import { noLabels, plainCommit, TestNode } from "./fakes.ts";
import { rejection } from "../../support/rejection.ts";

const failure = (code: string) => expect.objectContaining({ code });

describe("Snapshotter.commit()", () => {
  test("turns the directory into an image and drops it", async () => {
    await using node = new TestNode();
    await node.layer("base");
    await node.snapshotter.prepare("k", "base", new Map([["old", "1"]]));
    const upper = node.upper("k");
    const before = node.snapshotter.stat("k");
    const labels = new Map([["new", "2"]]);
    await node.snapshotter.commit("layer", "k", { labels, parent: "" });
    const info = node.snapshotter.stat("layer");
    expect(info).toMatchObject({ id: before.id, kind: "committed", parent: "base", labels });
    expect(info.createdNs).toBeGreaterThan(before.createdNs);
    expect(() => node.snapshotter.stat("k")).toThrow(failure("not_found"));
    expect(node.layerStore.converted.at(-1)).toBe(upper);
    expect(node.layerStore.settled).toEqual([101, 102]);
    expect(node.mounts.held.size).toBe(0);
    await node.snapshotter.close();
    expect(existsSync(upper)).toBe(false);
    expect(node.log.messages("info")).toEqual([
      "detected new layer base, auto-converting to EROFS",
      "successfully auto-converted layer base",
      "detected new layer layer, auto-converting to EROFS",
      "successfully auto-converted layer layer",
    ]);
  });

  test("says when the image was there already", async () => {
    await using node = new TestNode();
    node.layerStore.next = { reused: true };
    await node.layer("again");
    expect(node.log.messages("info").at(-1)).toBe(
      "layer again already has erofs image, skip conversion",
    );
  });

  test("rejects as containerd's overlay snapshotter does", async () => {
    await using node = new TestNode();
    const { snapshotter } = node;
    await node.layer("base");
    await snapshotter.view("v", "base", noLabels);
    await snapshotter.prepare("a", "", noLabels);
    const commit = (name: string, key: string) => snapshotter.commit(name, key, plainCommit);
    expect(await rejection(commit("x", "none"))).toEqual(failure("not_found"));
    expect(await rejection(commit("x", "v"))).toEqual(failure("failed_precondition"));
    expect(await rejection(commit("x", "base"))).toEqual(failure("failed_precondition"));
    expect(await rejection(commit("base", "a"))).toEqual(failure("already_exists"));
    expect(() => commit("", "a")).toThrow(failure("invalid_argument"));
    expect(node.layerStore.converted).toHaveLength(1);
  });

  test("keeps the directory, synced, when conversion fails, and says why", async () => {
    await using node = new TestNode();
    node.layerStore.failure = new AppError("internal", "Cannot read xattrs");
    await node.snapshotter.prepare("k", "", noLabels);
    writeFileSync(join(node.upper("k"), "file"), Buffer.alloc(9000, 1));
    const upper = node.upper("k");
    await node.snapshotter.commit("layer", "k", plainCommit);
    expect(node.log.messages("warn")).toEqual(["layer layer stays a plain directory"]);
    expect(node.metadata.plainLayers()).toEqual([{ name: "layer", reason: "Cannot read xattrs" }]);
    expect((await node.snapshotter.usage("layer")).inodes).toBe(2);
    expect(node.trees.synced).toEqual([upper]);
    const [mount] = await node.snapshotter.view("v", "layer", noLabels);
    expect(mount?.source).toBe(upper);
    await node.snapshotter.cleanup();
    expect(existsSync(join(upper, "file"))).toBe(true);
  });

  test("stays active when the conversion was cancelled", async () => {
    await using node = new TestNode();
    node.layerStore.failure = new AppError("cancelled", "The daemon stops");
    await node.snapshotter.prepare("k", "", noLabels);
    const attempt = node.snapshotter.commit("layer", "k", plainCommit);
    expect(await rejection(attempt)).toEqual(failure("cancelled"));
    expect(node.snapshotter.stat("k").kind).toBe("active");
  });

  test("does not convert when that is switched off", async () => {
    await using node = new TestNode({ conversionEnabled: false });
    await node.layer("layer");
    expect(node.layerStore.converted).toEqual([]);
    expect(node.metadata.plainLayers()).toHaveLength(1);
    expect(node.log.lines).toEqual([]);
  });

  test("gives the image back when the transaction fails, and keeps the snapshot", async () => {
    await using node = new TestNode();
    await node.snapshotter.prepare("k", "", noLabels);
    const upper = node.upper("k");
    const fullDisk = Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
    const commit = node.metadata.commit.bind(node.metadata);
    node.metadata.commit = () => {
      throw fullDisk;
    };
    const attempt = node.snapshotter.commit("layer", "k", plainCommit);
    expect(await rejection(attempt)).toEqual(failure("resource_exhausted"));
    await node.snapshotter.cleanup();
    expect(node.layerStore.settled).toEqual([101]);
    expect(node.layerStore.released).toEqual([101]);
    expect(existsSync(upper)).toBe(true);
    node.metadata.commit = commit;
    await node.snapshotter.commit("layer", "k", plainCommit);
    expect(node.snapshotter.stat("layer").kind).toBe("committed");
  });

  test("lets other calls go on, but none on the same names", async () => {
    await using node = new TestNode();
    const gate = Promise.withResolvers<void>();
    node.layerStore.gate = gate.promise;
    await node.snapshotter.prepare("a", "", noLabels);
    await node.snapshotter.prepare("b", "", noLabels);
    const first = node.snapshotter.commit("layer", "a", plainCommit);
    const second = node.snapshotter.commit("layer", "b", plainCommit);
    const removal = node.snapshotter.remove("a");
    expect(node.snapshotter.stat("a").kind).toBe("active");
    await node.snapshotter.prepare("c", "", noLabels);
    await node.snapshotter.cleanup();
    gate.resolve();
    await first;
    expect(await rejection(second)).toEqual(failure("already_exists"));
    expect(await rejection(removal)).toEqual(failure("not_found"));
    expect(node.layerStore.converted).toHaveLength(1);
  });

  test("gives a parent to a snapshot that was prepared without", async () => {
    await using node = new TestNode();
    const { snapshotter } = node;
    await node.layer("base");
    await snapshotter.prepare("k", "", noLabels);
    const commit = (name: string, key: string, parent: string) =>
      snapshotter.commit(name, key, { labels: noLabels, parent });
    expect(await rejection(commit("x", "k", "none"))).toEqual(failure("not_found"));
    expect(await rejection(commit("x", "k", "k"))).toEqual(failure("failed_precondition"));
    await commit("layer", "k", "base");
    expect(snapshotter.stat("layer").parent).toBe("base");
    await snapshotter.prepare("top", "layer", noLabels);
    expect(await rejection(commit("x", "top", "base"))).toEqual(failure("invalid_argument"));
    await commit("x", "top", "layer");
    expect(snapshotter.stat("x").parent).toBe("layer");
  });
});

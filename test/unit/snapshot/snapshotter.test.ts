import { describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AppError } from "../../../src/errors.ts";
import { noLabels, plainCommit, TestNode } from "./fakes.ts";
import { rejection } from "../../support/rejection.ts";

const failure = (code: string) => expect.objectContaining({ code });
const permissions = (path: string) => statSync(path).mode & 0o7777;

describe("Snapshotter.prepare()", () => {
  test("gives a directory to write to, with the modes of a root file system", async () => {
    await using node = new TestNode();
    const umask = process.umask(0o077);
    try {
      const mounts = await node.snapshotter.prepare("a", "", noLabels);
      const source = node.upper("a");
      expect(mounts).toEqual([{ type: "bind", source, options: ["rw", "rbind"] }]);
    } finally {
      process.umask(umask);
    }
    expect(permissions(node.upper("a"))).toBe(0o755);
    expect(permissions(join(node.upper("a"), "..", "work"))).toBe(0o711);
    expect(permissions(join(node.upper("a"), ".."))).toBe(0o700);
  });

  test("mounts the parent's image first and takes over its owner and permissions", async () => {
    await using node = new TestNode();
    await node.layer("base");
    mkdirSync(node.mounts.directory(101), { recursive: true });
    chownSync(node.mounts.directory(101), 1234, 5678);
    chmodSync(node.mounts.directory(101), 0o3770);
    const mounts = await node.snapshotter.prepare("a", "base", noLabels);
    const status = statSync(node.upper("a"));
    expect([status.uid, status.gid, status.mode & 0o7777]).toEqual([1234, 5678, 0o3770]);
    expect(mounts[0]?.options.at(-1)).toBe(`lowerdir=${node.mounts.directory(101)}`);
    const { id } = node.snapshotter.stat("a");
    expect(node.mounts.held).toEqual(new Map([[`snapshot-${id}`, [101]]]));
    expect(node.snapshotter.layersInUse()).toEqual(new Map([[101, [`snapshot-${id}`]]]));
  });

  test("rejects as containerd's overlay snapshotter does", async () => {
    await using node = new TestNode();
    const { snapshotter } = node;
    await snapshotter.prepare("a", "", noLabels);
    expect(await rejection(snapshotter.prepare("b", "none", noLabels))).toEqual(
      failure("not_found"),
    );
    expect(await rejection(snapshotter.prepare("b", "a", noLabels))).toEqual(
      failure("invalid_argument"),
    );
    expect(await rejection(snapshotter.view("a", "", noLabels))).toEqual(failure("already_exists"));
    expect(() => snapshotter.prepare("", "", noLabels)).toThrow(failure("invalid_argument"));
    const long = new Map([["key", "x".repeat(4094)]]);
    expect(() => snapshotter.prepare("b", "", long)).toThrow(failure("invalid_argument"));
    await snapshotter.cleanup();
    expect(readdirSync(join(node.root, "snapshots"))).toEqual(["1"]);
  });

  test("lets one of two callers with the same key win", async () => {
    await using node = new TestNode();
    const results = await Promise.allSettled([
      node.snapshotter.prepare("a", "", noLabels),
      node.snapshotter.prepare("a", "", noLabels),
    ]);
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected"]);
  });

  test("mounts the image that took the place of one that is gone", async () => {
    await using node = new TestNode();
    await node.layer("base");
    const acquire = node.mounts.acquire.bind(node.mounts);
    node.mounts.acquire = async (holder, layerIds) => {
      if (!layerIds.includes(101)) return acquire(holder, layerIds);
      node.metadata.moveLayer(101, 102);
      throw new AppError("not_found", "There is no such image any more");
    };
    await node.snapshotter.prepare("a", "base", noLabels);
    expect([...node.mounts.held.values()]).toEqual([[102]]);
  });

  // A missing file inside must not look like a missing snapshot, nor an existing one like a layer.
  test.each(["not_found", "already_exists"] as const)(
    "leaves nothing behind when mounting fails, and hides a %s of the kernel",
    async (code) => {
      await using node = new TestNode();
      await node.layer("base");
      node.mounts.failure = new AppError(code, "Cannot mount");
      const attempt = node.snapshotter.prepare("a", "base", noLabels);
      expect(await rejection(attempt)).toEqual(failure("internal"));
      expect(node.metadata.find("a")).toBeUndefined();
      expect(node.mounts.held.size).toBe(0);
      await node.snapshotter.remove("base");
      await node.snapshotter.cleanup();
      expect(node.layerStore.released).toEqual([101]);
    },
  );
});

describe("Snapshotter.mounts()", () => {
  test("gives the same mounts again, and acquires them again after a restart", async () => {
    await using node = new TestNode();
    await node.layer("base");
    const mounts = await node.snapshotter.view("v", "base", noLabels);
    node.mounts.held.clear();
    await node.restart();
    expect(await node.snapshotter.mounts("v")).toEqual(mounts);
    expect([...node.mounts.held.values()]).toEqual([[101]]);
    expect(await rejection(node.snapshotter.mounts("base"))).toEqual(
      failure("failed_precondition"),
    );
    expect(await rejection(node.snapshotter.mounts("none"))).toEqual(failure("not_found"));
  });
});

describe("Snapshotter.remove()", () => {
  test("forgets the snapshot at once and deletes what it left in the background", async () => {
    await using node = new TestNode();
    await node.layer("base");
    await node.snapshotter.prepare("a", "base", noLabels);
    const upper = node.upper("a");
    expect(await rejection(node.snapshotter.remove("base"))).toEqual(
      failure("failed_precondition"),
    );
    await node.snapshotter.remove("a");
    expect(() => node.snapshotter.stat("a")).toThrow(failure("not_found"));
    expect(node.mounts.held.size).toBe(0);
    await node.snapshotter.remove("base");
    await node.snapshotter.cleanup();
    expect(() => statSync(upper)).toThrow("ENOENT");
    expect(node.layerStore.released).toEqual([101]);
    expect(await rejection(node.snapshotter.remove("a"))).toEqual(failure("not_found"));
  });

  test("keeps an image that another snapshot has too", async () => {
    await using node = new TestNode();
    node.layerStore.next = { layerId: 5 };
    await node.layer("one");
    await node.layer("two");
    await node.snapshotter.remove("one");
    await node.snapshotter.cleanup();
    expect(node.layerStore.released).toEqual([]);
    await node.snapshotter.remove("two");
    await node.snapshotter.cleanup();
    expect(node.layerStore.released).toEqual([5]);
  });

  test("refuses to take the parent from a snapshot that is being prepared", async () => {
    await using node = new TestNode();
    await node.layer("base");
    const preparing = node.snapshotter.prepare("a", "base", noLabels);
    await Promise.resolve();
    expect(await rejection(node.snapshotter.remove("base"))).toEqual(
      failure("failed_precondition"),
    );
    await preparing;
  });
});

describe("Snapshotter.update()", () => {
  const stored = new Map([
    ["a", "1"],
    ["b", "2"],
  ]);

  test.each([
    ["everything without a mask", [], { c: "3", d: "" }, { c: "3" }],
    ["all labels", ["labels"], { c: "3" }, { c: "3" }],
    [
      "single labels",
      ["labels.b", "labels.c.d"],
      { a: "9", b: "8", "c.d": "7" },
      { a: "1", b: "8", "c.d": "7" },
    ],
    ["labels away", ["labels.a", "labels.b"], { b: "" }, {}],
  ])("changes %s", async (_story, paths, labels, expected) => {
    await using node = new TestNode();
    await node.snapshotter.prepare("k", "", stored);
    const before = node.snapshotter.stat("k");
    const updated = await node.snapshotter.update("k", new Map(Object.entries(labels)), paths);
    expect(updated.labels).toEqual(new Map(Object.entries(expected)));
    expect(updated.updatedNs).toBeGreaterThan(before.updatedNs);
    expect(updated.createdNs).toBe(before.createdNs);
    await node.restart();
    expect(node.snapshotter.stat("k")).toEqual(updated);
  });

  test("changes nothing else", async () => {
    await using node = new TestNode();
    await node.snapshotter.prepare("k", "", stored);
    for (const path of ["parent", "name", "kind", "label"]) {
      const attempt = node.snapshotter.update("k", stored, [path]);
      expect(await rejection(attempt)).toEqual(failure("invalid_argument"));
    }
    expect(await rejection(node.snapshotter.update("none", stored, []))).toEqual(
      failure("not_found"),
    );
  });
});

describe("Snapshotter.list()", () => {
  test("finds by filter, over many pages", async () => {
    await using node = new TestNode({ conversionEnabled: false });
    await node.layer("base");
    for (let index = 0; index < 600; index++) {
      const labels = new Map([["odd", String(index % 2 === 1)]]);
      await node.snapshotter.prepare(`a${index}`, index < 5 ? "base" : "", labels);
    }
    const names = (...filters: string[]) =>
      [...node.snapshotter.list(filters)].flat().map((info) => info.name);
    expect(names()).toHaveLength(601);
    expect(names("kind==committed")).toEqual(["base"]);
    expect(names("labels.odd==true")).toHaveLength(300);
    expect(names("labels.odd==true,parent==base")).toEqual(["a1", "a3"]);
    expect(names("name==a7", "name==a8")).toEqual(["a7", "a8"]);
    expect(() => node.snapshotter.list(["name==="])).toThrow(failure("invalid_argument"));
  });

  test("shows a snapshot once though it is committed meanwhile", async () => {
    await using node = new TestNode();
    for (let index = 0; index < 300; index++) {
      await node.snapshotter.prepare(`a${index}`, "", noLabels);
    }
    const names: string[] = [];
    for (const page of node.snapshotter.list([])) {
      if (names.length === 0) await node.snapshotter.commit("z", "a0", plainCommit);
      names.push(...page.map((info) => info.name));
    }
    expect(new Set(names).size).toBe(300);
  });
});

describe("Snapshotter.usage()", () => {
  test("measures active snapshots and remembers committed ones", async () => {
    await using node = new TestNode();
    await node.snapshotter.prepare("a", "", noLabels);
    writeFileSync(join(node.upper("a"), "file"), Buffer.alloc(100_000, 1));
    const { sizeBytes, inodes } = await node.snapshotter.usage("a");
    expect(sizeBytes).toBeGreaterThanOrEqual(100_000);
    expect(inodes).toBe(2);
    await node.snapshotter.commit("c", "a", plainCommit);
    expect(await node.snapshotter.usage("c")).toEqual({ sizeBytes: 4096, inodes: 3 });
    await node.snapshotter.view("v", "c", noLabels);
    expect(await node.snapshotter.usage("v")).toEqual({ sizeBytes: 0, inodes: 0 });
    expect(await rejection(node.snapshotter.usage("none"))).toEqual(failure("not_found"));
  });
});

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { decisionsKept, SnapshotMetadata, pageRows } from "../../../src/snapshot/metadata.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { noLabels } from "./fakes.ts";

class Store implements AsyncDisposable {
  readonly #scratch = scratchFolder("unit");
  readonly path = join(this.#scratch.path, "snapshots.db");
  metadata = SnapshotMetadata.open(this.path);

  async reopen(): Promise<SnapshotMetadata> {
    await this.metadata.close();
    this.metadata = SnapshotMetadata.open(this.path);
    return this.metadata;
  }

  active(name: string, parentId?: number): number {
    const id = this.metadata.reserveId();
    this.metadata.insert({ id, name, parentId, kind: "active", nowNs: 1n, labels: noLabels });
    return id;
  }

  image(name: string, layerId: number, parentId?: number): number {
    const id = this.active(`extract ${name}`, parentId);
    const layer = { kind: "image", layerId } as const;
    const usage = { sizeBytes: 10, inodes: 2 };
    this.metadata.commit({ id, name, parentId, nowNs: 2n, labels: noLabels, layer, usage });
    return id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.metadata.close();
    this.#scratch[Symbol.dispose]();
  }
}

describe("SnapshotMetadata", () => {
  test("keeps times to the nanosecond and labels of any text, over a restart", async () => {
    await using store = new Store();
    const labels = new Map([
      ["__proto__", "own"],
      ["constructor", ""],
      ["ключ 牛 😀", 'quote " slash \\ line\n'],
    ]);
    const nowNs = 9_223_372_036_854_775_807n;
    const id = store.metadata.reserveId();
    const snapshot = { id, name: "ns/1/k", parentId: undefined, kind: "view", nowNs } as const;
    store.metadata.insert({ ...snapshot, labels });
    const metadata = await store.reopen();
    expect(metadata.find("ns/1/k")).toEqual({
      id,
      name: "ns/1/k",
      parent: "",
      parentId: undefined,
      kind: "view",
      createdNs: nowNs,
      updatedNs: nowNs,
      labels,
      layer: undefined,
      appliedLayerId: undefined,
      appliedBlob: undefined,
      tocDigest: undefined,
      usage: { sizeBytes: 0, inodes: 0 },
    });
  });

  test("never gives an id again, not even after the last snapshot is gone", async () => {
    await using store = new Store();
    expect(store.metadata.isNew).toBe(true);
    const id = store.active("a");
    store.metadata.remove(id);
    const metadata = await store.reopen();
    expect(metadata.isNew).toBe(false);
    expect(metadata.reserveId()).toBe(id + 1);
    metadata.skipIdsTo(50);
    metadata.skipIdsTo(7);
    expect(metadata.reserveId()).toBe(51);
  });

  test("refuses a taken name and changes nothing then", async () => {
    await using store = new Store();
    store.active("a");
    expect(() => store.active("a")).toThrow(expect.objectContaining({ code: "already_exists" }));
    const b = store.active("b");
    const layer = { kind: "plain", reason: "why" } as const;
    const usage = { sizeBytes: 0, inodes: 0 };
    const taken = { id: b, name: "a", parentId: undefined, nowNs: 1n, labels: noLabels };
    expect(() => store.metadata.commit({ ...taken, layer, usage })).toThrow("there already");
    expect(store.metadata.find("b")?.kind).toBe("active");
  });

  test("commits active snapshots only, and does not remove parents", async () => {
    await using store = new Store();
    const base = store.image("base", 7);
    store.active("top", base);
    expect(() => store.metadata.remove(base)).toThrow("FOREIGN KEY");
    const layer = { kind: "plain", reason: "" } as const;
    const again = { id: base, name: "x", parentId: undefined, nowNs: 1n, labels: noLabels };
    expect(() =>
      store.metadata.commit({ ...again, layer, usage: { sizeBytes: 0, inodes: 0 } }),
    ).toThrow("No active snapshot");
  });

  test("walks the chain from the nearest ancestor to the base, however long", async () => {
    await using store = new Store();
    let parentId: number | undefined;
    const ids: number[] = [];
    for (let depth = 0; depth < 300; depth++) {
      parentId = store.image(`layer ${depth}`, 1000 + depth, parentId);
      ids.unshift(parentId);
    }
    expect(store.metadata.chain(parentId).map((link) => link.id)).toEqual(ids);
    expect(store.metadata.chain(undefined)).toEqual([]);
  });

  test("knows which layers are referred to, and which are below a container", async () => {
    await using store = new Store();
    const base = store.image("base", 7);
    const middle = store.image("middle", 8, base);
    store.image("same again", 8, middle);
    const first = store.active("first", middle);
    const second = store.active("second", base);
    expect(store.metadata.layerReferences()).toEqual(
      new Map([
        [7, 1],
        [8, 2],
      ]),
    );
    expect(store.metadata.layerUsers()).toEqual(
      new Map([
        [7, [first, second]],
        [8, [first]],
      ]),
    );
    expect(store.metadata.isLayerReferenced(8)).toBe(true);
    expect(store.metadata.isLayerReferenced(9)).toBe(false);
    expect(store.metadata.directoryIds()).toEqual(new Set([first, second]));
  });

  test("lists pages by id, all of it or by name, parent and root", async () => {
    await using store = new Store();
    const base = store.image("base", 7);
    for (let count = 0; count < pageRows; count++) store.active(`a${count}`, base);
    const first = store.metadata.page(0, undefined);
    expect(first).toHaveLength(pageRows);
    expect(store.metadata.page(first.at(-1)?.id ?? 0, undefined)).toHaveLength(1);
    expect(store.metadata.page(0, { field: "name", value: "a5" })).toHaveLength(1);
    expect(store.metadata.page(0, { field: "parent", value: "base" })).toHaveLength(pageRows);
    expect(store.metadata.page(0, { field: "parent", value: "" })).toHaveLength(1);
    expect(store.metadata.page(0, { field: "parent", value: "none" })).toHaveLength(0);
  });

  test("keeps values of the root", async () => {
    await using store = new Store();
    expect(store.metadata.value("root_id")).toBeUndefined();
    store.metadata.setValue("root_id", "one");
    store.metadata.setValue("root_id", "two");
    expect((await store.reopen()).value("root_id")).toBe("two");
  });

  test("moves all that have a layer to another, committed or only applied", async () => {
    await using store = new Store();
    const { metadata } = store;
    const ids = [store.image("one", 7), store.image("two", 7), store.image("three", 8)];
    const active = store.active("active");
    const usage = { sizeBytes: 10, inodes: 2 };
    metadata.apply({ id: active, layerId: 7, blob: undefined, nowNs: 3n, usage });
    metadata.moveLayer(7, 9);
    const layers = ids.map((id) => metadata.findById(id)?.layer);
    expect(layers).toEqual([9, 9, 8].map((layerId) => ({ kind: "image", layerId })));
    expect(metadata.findById(active)?.appliedLayerId).toBe(9);
    expect(metadata.isLayerReferenced(7)).toBe(false);
    expect(metadata.find("one")?.updatedNs).toBe(2n);
    expect((await store.reopen()).layerReferences()).toEqual(
      new Map([
        [8, 1],
        [9, 3],
      ]),
    );
  });

  test("finds what was committed for a chain ID on a parent, and only that", async () => {
    await using store = new Store();
    const { metadata } = store;
    const claim = (name: string, target: string, parentId?: number, tocDigest?: string) => {
      const id = metadata.reserveId();
      const labels = new Map([["containerd.io/snapshot.ref", target]]);
      const usage = { sizeBytes: 1, inodes: 1 };
      const made = { layerId: id, tocDigest, usage };
      metadata.claim({ id, name, parentId, nowNs: 3n, labels, ...made });
      return id;
    };
    const root = claim("root", "sha256:a");
    claim("child", "sha256:b", root, "sha256:table");
    claim("other/child", "sha256:b", root);
    store.active("container", root);
    expect(metadata.findTarget("sha256:a", undefined)).toMatchObject([{ name: "root" }]);
    expect(metadata.findTarget("sha256:b", root)).toMatchObject([
      { name: "child", tocDigest: "sha256:table" },
      { name: "other/child", tocDigest: undefined },
    ]);
    expect(metadata.findTarget("sha256:b", undefined)).toEqual([]);
    expect(metadata.findTarget("sha256:a", root)).toEqual([]);
    expect(() => claim("child", "sha256:c")).toThrow("is there already");
  });

  test("keeps the last decision on each layer of an image, over a restart", async () => {
    await using store = new Store();
    const decide = (digest: string, layerId?: number, reason = "") => {
      const decision = layerId === undefined ? ("not lazy" as const) : ("lazy" as const);
      const fields = { image: "app:1", digest, decision, reason, timeNs: 5n, layerId };
      store.metadata.noteDecision(fields);
      return fields;
    };
    decide("a", undefined, "no registry");
    const other = decide("b", 7);
    const later = decide("a", 8);
    store.metadata.moveLayer(7, 9);
    const metadata = await store.reopen();
    expect(metadata.decisions()).toEqual([{ ...other, layerId: 9 }, later]);
  });

  test("forgets the oldest decisions", async () => {
    await using store = new Store();
    const decision = { decision: "not lazy", reason: "", timeNs: 1n, layerId: undefined } as const;
    for (let count = 0; count <= decisionsKept; count++) {
      store.metadata.noteDecision({ ...decision, image: "app:1", digest: `${count}` });
    }
    const kept = store.metadata.decisions();
    expect(kept).toHaveLength(decisionsKept);
    expect(kept[0]?.digest).toBe("1");
  });
});

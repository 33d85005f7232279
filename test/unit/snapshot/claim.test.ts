import { describe, expect, test } from "bun:test";
import { claimLabels } from "../../../src/snapshot/claim-labels.ts";
import type {
  ClaimedLayer,
  ClaimRequest,
  LayerClaims,
  LayerName,
} from "../../../src/snapshot/contract.ts";
import { rejection } from "../../support/rejection.ts";
import { noLabels, TestNode } from "./fakes.ts";

const failure = (code: string) => expect.objectContaining({ code });

function labelsOf(target: string, layer = `sha256:blob of ${target}`): Map<string, string> {
  return new Map([
    ["containerd.io/snapshot.ref", target],
    ["containerd.io/snapshot/cri.image-ref", "registry.example/app:1"],
    ["containerd.io/snapshot/cri.manifest-digest", "sha256:manifest"],
    ["containerd.io/snapshot/cri.layer-digest", layer],
    ["containerd.io/snapshot/cri.image-layers", layer],
  ]);
}

/** Claims what it is told to. */
class FakeClaims implements LayerClaims {
  readonly asked: ClaimRequest[] = [];
  /** Layers by chain ID; what is not here is pulled. */
  readonly layers = new Map<string, number>();
  /** Of the table that the manifest of the image names, whatever the layer. */
  toc = "sha256:table";
  gate: Promise<unknown> = Promise.resolve();
  failure: unknown;

  async claim(request: ClaimRequest): Promise<ClaimedLayer | undefined> {
    this.asked.push(request);
    await this.gate;
    if (this.failure !== undefined) throw this.failure;
    const layerId = this.layers.get(request.target);
    const facts = { addedBytes: 8192, inodes: 5, reused: false };
    const state = "fetching" as const;
    return layerId === undefined
      ? undefined
      : { layerId, ...facts, isLazy: true, packId: 512, state, tocDigest: this.toc };
  }

  async names(_: LayerName, tocDigest: string): Promise<boolean> {
    return tocDigest === this.toc;
  }

  rootOf(): { mode: number; uid: number; gid: number } {
    return { mode: 0o41777, uid: 7, gid: 8 };
  }
}

function lazyNode(): { node: TestNode; claims: FakeClaims } {
  const claims = new FakeClaims();
  return { node: new TestNode({ claims }), claims };
}

/** As containerd does it (core/metadata/snapshot.go): undefined where the pull would fail. */
async function prepareLayer(node: TestNode, target: string, parent: string, key: string) {
  const refusal = await rejection(node.snapshotter.prepare(key, parent, labelsOf(target)));
  expect(refusal).toEqual(failure("already_exists"));
  const filter = `labels."containerd.io/snapshot.ref"==${target},parent=="${parent}"`;
  const found = [...node.snapshotter.list([filter])].flat();
  return found.find(({ kind }) => kind === "committed")?.name;
}

describe("claimLabels()", () => {
  test("wants all of them", () => {
    expect(claimLabels(labelsOf("sha256:a"))).toEqual({
      target: "sha256:a",
      image: "registry.example/app:1",
      manifestDigest: "sha256:manifest",
      layerDigest: "sha256:blob of sha256:a",
    });
    for (const name of labelsOf("sha256:a").keys()) {
      if (name.endsWith("cri.image-layers")) continue;
      const labels = labelsOf("sha256:a");
      labels.delete(name);
      expect(claimLabels(labels)).toBeUndefined();
    }
  });
});

describe("Snapshotter.prepare() of a layer", () => {
  test("answers already_exists with a committed snapshot that containerd finds", async () => {
    const { node, claims } = lazyNode();
    await using _ = node;
    claims.layers.set("sha256:a", 11).set("sha256:b", 12);
    const first = await prepareLayer(node, "sha256:a", "", "default/1/extract-1 sha256:a");
    expect(first).toMatch(/^default\/claimed-\d+\/sha256:a$/);
    const second = await prepareLayer(node, "sha256:b", first ?? "", "default/2/extract-2");
    expect(node.snapshotter.stat(second ?? "")).toMatchObject({
      kind: "committed",
      parent: first,
      layer: { kind: "image", layerId: 12 },
      usage: { sizeBytes: 8192, inodes: 5 },
      labels: labelsOf("sha256:b"),
    });
    expect(node.layerStore.settled).toEqual([11, 12]);
    expect(claims.asked).toMatchObject([
      {
        image: "registry.example/app:1",
        namespace: "default",
        parentTarget: "",
        base: { root: { mode: 0o40755, uid: 0, gid: 0 }, lower: [] },
      },
      {
        layerDigest: "sha256:blob of sha256:b",
        parentTarget: "sha256:a",
        base: { root: { mode: 0o41777, uid: 7, gid: 8 }, lower: "unknown" },
      },
    ]);
    // Nothing was mounted, no directory was made.
    expect(node.mounts.held.size).toBe(0);
    await node.snapshotter.prepare("container", second ?? "", noLabels);
    expect([...node.mounts.held.values()]).toEqual([[12, 11]]);
  });

  test("does nothing twice: neither at the same time, nor after a restart", async () => {
    const { node, claims } = lazyNode();
    await using _ = node;
    claims.layers.set("sha256:a", 11);
    const gate = Promise.withResolvers();
    claims.gate = gate.promise;
    const names = ["1", "2", "3"].map((key) => prepareLayer(node, "sha256:a", "", key));
    gate.resolve(undefined);
    expect(new Set(await Promise.all(names)).size).toBe(1);
    expect(claims.asked).toHaveLength(1);
    await node.restart();
    await prepareLayer(node, "sha256:a", "", "4");
    expect(claims.asked).toHaveLength(1);
    expect([...node.snapshotter.list([])].flat()).toHaveLength(1);
  });

  test("finds what was pulled as ever", async () => {
    const { node, claims } = lazyNode();
    await using _ = node;
    await node.snapshotter.prepare("extract", "", labelsOf("sha256:a"));
    const labels = labelsOf("sha256:a");
    await node.snapshotter.commit("other/5/sha256:a", "extract", { labels, parent: "" });
    expect(await prepareLayer(node, "sha256:a", "", "default/9/k")).toBe("other/5/sha256:a");
    expect(claims.asked).toHaveLength(1);
  });

  test.each(["a hostile image", "an honest image"])(
    "gives nobody the layer that %s was claimed with, unless its manifest names the table",
    async (first) => {
      const { node, claims } = lazyNode();
      await using _ = node;
      claims.layers.set("sha256:a", 11);
      claims.toc = `sha256:table of ${first}`;
      const name = await prepareLayer(node, "sha256:a", "", "one/1/k");
      claims.toc = "sha256:table of the other image";
      claims.layers.set("sha256:a", 12);
      const prepare = (key: string) => node.snapshotter.prepare(key, "", labelsOf("sha256:a"));
      // Not claimed either: containerd would take any of the two.
      expect(await prepare("two/2/k")).toHaveLength(1);
      expect(await prepare("one/3/k")).toHaveLength(1);
      expect(claims.asked).toHaveLength(1);
      // A promotion changes the layer, but not what its bytes were compared with.
      node.metadata.moveLayer(11, 13);
      await node.restart();
      const labels = labelsOf("sha256:a");
      await node.snapshotter.commit("two/4/sha256:a", "two/2/k", { labels, parent: "" });
      expect(await prepare("three/5/k")).toHaveLength(1);
      claims.toc = `sha256:table of ${first}`;
      expect(await prepareLayer(node, "sha256:a", "", "three/6/k")).toBe(name);
      expect(claims.asked).toHaveLength(1);
    },
  );

  test("the same layer on another parent is another snapshot", async () => {
    const { node, claims } = lazyNode();
    await using _ = node;
    await node.layer("base");
    claims.layers.set("sha256:a", 11);
    const name = await prepareLayer(node, "sha256:a", "", "1");
    expect(await prepareLayer(node, "sha256:a", "base", "2")).not.toBe(name);
    expect(claims.asked.map(({ parentTarget }) => parentTarget)).toEqual(["", undefined]);
  });

  test("prepares a snapshot where the layer is not claimed, whatever the reason", async () => {
    const { node, claims } = lazyNode();
    await using _ = node;
    expect(await node.snapshotter.prepare("1", "", labelsOf("sha256:a"))).toHaveLength(1);
    claims.failure = new Error("no idea");
    expect(await node.snapshotter.prepare("2", "", labelsOf("sha256:a"))).toHaveLength(1);
    expect(node.log.messages("warn")).toEqual(["layer sha256:a is pulled"]);
    expect(claims.asked).toHaveLength(2);
  });

  test("asks nobody for views, containers, and layers that are unpacked side by side", async () => {
    const { node, claims } = lazyNode();
    await using _ = node;
    await node.layer("base");
    const labels = labelsOf("sha256:a");
    await node.snapshotter.view("1", "base", labels);
    await node.snapshotter.prepare("2", "base", noLabels);
    await node.snapshotter.prepare("3", "base", new Map([["containerd.io/snapshot.ref", "a"]]));
    labels.set("containerd.io/snapshot/parent-chain-id", "sha256:b");
    await node.snapshotter.prepare("4", "", labels);
    expect(claims.asked).toEqual([]);
  });

  test("mounts the layers below only for a layer that needs them", async () => {
    const { node, claims } = lazyNode();
    await using _ = node;
    await node.layer("base");
    const held: number[] = [];
    claims.claim = async ({ mountedBase }) => {
      expect((await mountedBase()).lower).toEqual([node.mounts.directory(101)]);
      held.push(node.mounts.held.size);
      return undefined;
    };
    await node.snapshotter.prepare("default/1/k", "base", labelsOf("sha256:a"));
    expect(held).toEqual([1]);
    expect(node.mounts.held.size).toBe(1);
  });

  test("drops the layer where the snapshot cannot be stored", async () => {
    const { node, claims } = lazyNode();
    await using _ = node;
    claims.layers.set("sha256:a", 11);
    node.metadata.claim = () => {
      throw new Error("the disk is full");
    };
    expect(await node.snapshotter.prepare("1", "", labelsOf("sha256:a"))).toHaveLength(1);
    await node.snapshotter.close();
    expect(node.layerStore.released).toEqual([11]);
  });
});

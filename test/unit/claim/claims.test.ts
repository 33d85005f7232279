import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { NodeLayerClaims } from "../../../src/claim/claims.ts";
import { ImageTables } from "../../../src/claim/image-tables.ts";
import { blobFile } from "../../../src/containerd/content-store.ts";
import { parseDigest } from "../../../src/containerd/descriptor.ts";
import { AppError } from "../../../src/errors.ts";
import type { ClaimRequest, LayerBase, LayerDecision } from "../../../src/snapshot/contract.ts";
import { sha256Digest } from "../../../src/util/digest.ts";
import type { MemoryBlob } from "../../support/lazy/lazy-blob.ts";
import { RecordingLog } from "../snapshot/fakes.ts";
import {
  claimedLayer,
  descriptorOf,
  FakeLazyStore,
  FakeRegistry,
  makeBlob,
  manifestOf,
} from "./fakes.ts";

const root = { mode: 0o40755, uid: 0, gid: 0 };
const first: LayerBase = { root, lower: [] };
const upper: LayerBase = { root, lower: "unknown" };

/** A node that is asked for the layers of one image. */
class TestClaims implements Disposable {
  readonly #scratch = scratchFolder("unit");
  readonly registry = new FakeRegistry();
  readonly layers = new FakeLazyStore();
  readonly log = new RecordingLog();
  readonly decisions: LayerDecision[] = [];
  readonly onClaimed: number[] = [];
  readonly claims: NodeLayerClaims;
  readonly #tables: ImageTables;
  readonly blobs: readonly MemoryBlob[];
  manifest = manifestOf([]);

  constructor(blobs: readonly MemoryBlob[], timeoutMs = 60_000) {
    this.blobs = blobs;
    this.registry.add(...blobs);
    this.manifest = manifestOf(blobs.map((blob) => descriptorOf(blob)));
    this.#tables = new ImageTables({
      manifest: async () => this.manifest,
      ranges: this.registry.ranges,
      isKnown: ({ digest }) => this.layers.known.has(digest),
      expect: () => undefined,
      allowUnverified: false,
      timeoutMs,
    });
    this.claims = new NodeLayerClaims({
      layers: this.layers,
      tables: this.#tables,
      ahead: { begin: async () => undefined, take: async () => undefined },
      rootOf: () => root,
      content: { containerdRoot: this.#scratch.path },
      timeoutMs,
      note: (decision) => void this.decisions.push(decision),
      onClaimed: (packId) => void this.onClaimed.push(packId),
      nowNs: () => 5n,
      log: this.log,
    });
  }

  static async of(names: readonly string[], timeoutMs?: number): Promise<TestClaims> {
    return new TestClaims(await Promise.all(names.map((name) => makeBlob(name))), timeoutMs);
  }

  request(index: number, more: Partial<ClaimRequest> = {}): ClaimRequest {
    return {
      image: "registry.example/app:1",
      manifestDigest: "sha256:manifest",
      layerDigest: this.blobs[index]?.digest ?? "",
      target: `sha256:chain ${index}`,
      parentTarget: index === 0 ? "" : `sha256:chain ${index - 1}`,
      namespace: "default",
      base: index === 0 ? first : upper,
      mountedBase: async () => ({ root, lower: ["/mounted"] }),
      ...more,
    };
  }

  claim(index: number, more: Partial<ClaimRequest> = {}) {
    return this.claims.claim(this.request(index, more));
  }

  /** containerd has the blob of a layer in its content store. */
  download(index: number): void {
    const path = blobFile(this.#scratch.path, parseDigest(this.blobs[index]!.digest)!);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, "");
  }

  [Symbol.dispose](): void {
    this.#tables.close();
    this.#scratch[Symbol.dispose]();
  }
}

const cancelled = new AppError("cancelled", "nobody waits");

describe("NodeLayerClaims.claim()", () => {
  test("has each layer made of its table, and says so", async () => {
    using node = await TestClaims.of(["a", "b"]);
    expect(await node.claim(0)).toEqual(claimedLayer(1, true));
    expect(await node.claim(1)).toEqual(claimedLayer(2, true));
    const [blob] = node.blobs;
    expect(node.layers.claimed[0]).toMatchObject({
      blob: { digest: blob?.digest, sizeBytes: blob?.sizeBytes, image: "registry.example/app:1" },
      base: first,
    });
    expect(node.layers.claimed[1]?.base).toEqual(upper);
    const { image } = node.request(0);
    const decision = { image, decision: "lazy", reason: "", timeNs: 5n } as const;
    expect(node.decisions).toEqual([
      { ...decision, digest: node.blobs[0]!.digest, layerId: 1 },
      { ...decision, digest: node.blobs[1]!.digest, layerId: 2 },
    ]);
    expect(node.onClaimed).toEqual([513, 514]);
    expect(node.log.lines.map(({ fields }) => fields)).toMatchObject([
      { audit: true, event: "claim", blob: blob?.digest, decision: "lazy", layerId: 1 },
      { audit: true, event: "claim", blob: node.blobs[1]?.digest, decision: "lazy", layerId: 2 },
    ]);
    expect(node.claims.counts).toMatchObject({ lazy: 2, present: 0, not_lazy: 0 });
  });

  test("asks nobody for a blob whose layer is there", async () => {
    using node = await TestClaims.of(["a", "b"]);
    const [a = "", b = ""] = node.blobs.map(({ digest }) => digest);
    node.layers.known.set(a, claimedLayer(7, false, "sha256:tar a"));
    node.layers.known.set(b, { ...claimedLayer(8, true), reused: true });
    expect(await node.claim(0, { target: "sha256:tar a" })).toHaveProperty("layerId", 7);
    expect(await node.claim(1)).toHaveProperty("layerId", 8);
    expect(node.registry.reads).toEqual([]);
    expect(node.decisions.map(({ decision }) => decision)).toEqual(["present", "lazy"]);
    expect(node.onClaimed).toEqual([]);
  });

  test("checks by the chain ID that the image means the content that is there", async () => {
    using node = await TestClaims.of(["a", "b"]);
    node.layers.known.set(node.blobs[1]!.digest, claimedLayer(8, false, "sha256:tar b"));
    const chain = sha256Digest(Buffer.from("sha256:chain 0 sha256:tar b"));
    expect(await node.claim(1, { target: chain })).toHaveProperty("layerId", 8);
    for (const more of [{ target: "sha256:forged" }, { target: chain, parentTarget: undefined }]) {
      expect(await node.claim(1, more)).toBeUndefined();
    }
    const reason = "its content is not what the image's configuration says";
    expect(node.decisions.map((decision) => decision.reason)).toEqual(["", reason, reason]);
    expect(node.layers.settled).toEqual([8, 8]);
    expect(node.layers.released).toEqual([8, 8]);
  });

  test("takes a layer that was made of a table only where the image names that", async () => {
    using node = await TestClaims.of(["a", "b"]);
    const [blob, other] = node.blobs;
    const toc = "containerd.io/snapshot/stargz/toc.digest";
    node.layers.known.set(blob!.digest, {
      ...claimedLayer(7, true),
      reused: true,
      tocDigest: other!.annotations[toc]!,
    });
    expect(await node.claim(0)).toHaveProperty("layerId", 1);
    expect(node.registry.reads).not.toEqual([]);
    node.manifest.layers[0]!.annotations = { ...other!.annotations };
    expect(await node.claim(0)).toHaveProperty("layerId", 7);
  });

  test("says whether the image names a table, or why the layer is pulled", async () => {
    using node = await TestClaims.of(["a"]);
    const toc = node.blobs[0]!.annotations["containerd.io/snapshot/stargz/toc.digest"]!;
    expect(await node.claims.names(node.request(0), toc)).toBe(true);
    expect(node.decisions).toEqual([]);
    expect(await node.claims.names(node.request(0), "sha256:other")).toBe(false);
    const reason = "its chain ID is taken by a layer that was made of another table of contents";
    expect(node.decisions).toMatchObject([{ decision: "not lazy", reason }]);
  });

  test("checks also what somebody else has built of the blob meanwhile", async () => {
    using node = await TestClaims.of(["a"]);
    node.layers.claim = async () => claimedLayer(8, false, "sha256:tar a");
    expect(await node.claim(0, { target: "sha256:forged" })).toBeUndefined();
    expect(node.layers.released).toEqual([8]);
  });

  test("mounts the layers below for a layer that needs them", async () => {
    using node = await TestClaims.of(["a", "b"]);
    node.layers.failures.push(new AppError("failed_precondition", "it has a hard link"));
    expect(await node.claim(1)).toBeDefined();
    expect(node.layers.claimed.map(({ base }) => base.lower)).toEqual(["unknown", ["/mounted"]]);
  });

  test.each<[string, (node: TestClaims) => Partial<ClaimRequest> | void, string]>([
    ["a digest that is none", () => ({ layerDigest: "sha256:x" }), '"sha256:x" is no digest'],
    ["a blob that containerd has", (node) => node.download(0), "containerd has its blob already"],
    [
      "a layer without a parent that is not the first",
      (node) => ({ layerDigest: node.blobs[1]!.digest }),
      'containerd unpacks layers side by side (capability "rebase")',
    ],
    [
      "a layer that its image does not vouch for",
      (node) => {
        node.manifest.layers[0]!.annotations = {};
      },
      "the image names no table of contents for it",
    ],
    [
      "a registry that fails",
      (node) => {
        node.registry.failure = new AppError("unavailable", "the registry is away");
      },
      "the registry is away",
    ],
    [
      "a layer that cannot be made of its table",
      (node) => void node.layers.failures.push(new AppError("unimplemented", "it has 33 GiB")),
      "it has 33 GiB",
    ],
    [
      "what takes something from layers below, and has none",
      (node) => void node.layers.failures.push(new AppError("failed_precondition", "no target")),
      "no target",
    ],
    ["a daemon that stops", (node) => void node.layers.failures.push(cancelled), "nobody waits"],
  ])("leaves %s to be pulled, and tells why", async (_, prepare, reason) => {
    using node = await TestClaims.of(["a", "b"]);
    const more = prepare(node) ?? {};
    expect(await node.claim(0, more)).toBeUndefined();
    expect(node.decisions).toMatchObject([{ decision: "not lazy", reason, layerId: undefined }]);
    expect(node.claims.counts.not_lazy).toBe(1);
    const line = { audit: true, event: "claim", decision: "not lazy", reason };
    expect(node.log.lines[0]?.fields).toMatchObject(line);
    expect(node.onClaimed).toEqual([]);
  });

  test("waits no longer than it may, and drops what comes too late", async () => {
    using node = await TestClaims.of(["a"], 20);
    const { promise, resolve } = Promise.withResolvers();
    node.layers.gate = promise;
    expect(await node.claim(0)).toBeUndefined();
    expect(node.decisions[0]?.reason).toBe("it took more than 20 ms (lazy.claim_timeout_ms)");
    expect(node.layers.settled).toEqual([]);
    resolve(undefined);
    await Bun.sleep(0);
    expect(node.layers.settled).toEqual([1]);
    expect(node.layers.released).toEqual([1]);
  });

  test("mounts nothing for a claim that is too late: nobody would release it", async () => {
    using node = await TestClaims.of(["a", "b"], 20);
    const { promise, resolve } = Promise.withResolvers();
    node.layers.gate = promise;
    node.layers.failures.push(new AppError("failed_precondition", "it has a hard link"));
    let mounted = 0;
    const mountedBase = async () => ({ root, lower: [`/mounted/${mounted++}`] });
    expect(await node.claim(1, { mountedBase })).toBeUndefined();
    resolve(undefined);
    await Bun.sleep(0);
    expect(node.layers.claimed).toHaveLength(1);
    expect(mounted).toBe(0);
  });

  test("claims also where the decision cannot be noted", async () => {
    using node = await TestClaims.of(["a"]);
    node.decisions.push = () => {
      throw new Error("the disk is full");
    };
    expect(await node.claim(0)).toBeDefined();
    expect(node.log.messages("warn")).toEqual(["cannot note what was decided of a layer"]);
  });
});

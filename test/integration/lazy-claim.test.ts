/**
 * Lazy layers from their claim to their end, with worker threads and all that is done once for a
 * node: one build for many claims, protection, deletion, promotion.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { checkRoot } from "../../src/check/check.ts";
import { compressionAlgorithm } from "../../src/erofs/compression.ts";
import { fileType } from "../../src/erofs/tree.ts";
import type { BuiltClaim } from "../../src/layer/layer-store.ts";
import type { LayerBase } from "../../src/snapshot/contract.ts";
import { lazyLayerOfPack } from "../../src/store/lazy-layers.ts";
import { packPath } from "../../src/store/paths.ts";
import { defined } from "../../src/util/assert.ts";
import { MiB } from "../../src/util/bytes.ts";
import { lazyBlob, type MemoryBlob } from "../support/lazy/lazy-blob.ts";
import { fillPack, noteWhole, tableOf } from "../support/lazy/lazy-store.ts";
import { TestLayerStore } from "../support/layer-store.ts";
import { randomBytes } from "../support/random.ts";
import { rejection } from "../support/rejection.ts";
import { text } from "../support/store-files.ts";
import { rawTar } from "../support/tar/raw-tar.ts";

const zstd = { algorithm: compressionAlgorithm.zstd, level: 3 } as const;
const base: LayerBase = { root: { mode: fileType.directory | 0o755, uid: 0, gid: 0 }, lower: [] };
const never = new AbortController().signal;

let folder: ScratchFolder;
let store: TestLayerStore;
let blob: MemoryBlob;

beforeEach(async () => {
  folder = scratchFolder("lazy-claim");
  store = await TestLayerStore.open(folder.path, zstd);
  const files = [
    { name: "text", content: text(1, 5 * MiB) },
    { name: "small", content: text(2, 5000) },
    { name: "random", content: randomBytes("random", 5 * MiB) },
  ];
  blob = await lazyBlob(rawTar(files), "estargz");
});

afterEach(async () => {
  await store[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function claim(signal = never): Promise<BuiltClaim> {
  return store.layers.claim(tableOf(blob), base, signal);
}

/** As the manifest names the layer. */
function named(of: MemoryBlob): [digest: string, tocDigest: string | undefined] {
  return [of.digest, tableOf(of).claim.tocDigest];
}

/** A layer that a snapshot refers to. */
async function claimAndCommit(of = blob): Promise<BuiltClaim & { readonly packId: number }> {
  const layer = await store.layers.claim(tableOf(of), base, never);
  store.neighbours.referenced.add(layer.layerId);
  store.layers.settle(layer.layerId);
  return { ...layer, packId: defined(layer.packId, "a pack") };
}

function namesIn(kind: "packs" | "images"): string[] {
  return readdirSync(store.root.paths[kind]).sort();
}

function findings(): unknown[] {
  const { referenced } = store.neighbours;
  const layerReferences = new Map([...referenced].map((layerId) => [layerId, 1]));
  const options = { readsData: true, isExclusive: true, progress: () => undefined };
  return checkRoot(store.root.index, store.root.paths, { layerReferences }, options);
}

describe("NodeLayerStore.claim()", () => {
  test("builds a blob once, however many ask for it at the same time", async () => {
    const layers = await Promise.all([claim(), claim(), claim()]);
    const [first] = layers;
    expect(first).toMatchObject({ isLazy: true, packId: 512, state: "fetching", reused: false });
    expect(first?.facts).toMatchObject({ knownBytes: 0, missingBytes: 10 * MiB + 5000 });
    const again = { layerId: first?.layerId, packId: 512, reused: true, facts: undefined };
    expect(layers.slice(1)).toMatchObject([again, again]);
    expect(store.layers.counts).toMatchObject({ done: 1, failed: 0, running: 0 });
    expect(namesIn("images")).toEqual(["1.erofs"]);
  });

  test("protects the layer until it is settled; then it goes with its pack", async () => {
    const { layerId } = await claim();
    await claim();
    await store.layers.release([layerId]);
    store.layers.settle(layerId);
    await store.layers.release([layerId]);
    expect(namesIn("packs")).toEqual(["512.pack", "512.pieces"]);
    store.layers.settle(layerId);
    await store.layers.release([layerId]);
    expect([namesIn("packs"), namesIn("images")]).toEqual([[], []]);
  });

  test("does not use the number of a pack that somebody may have open", async () => {
    const { layerId, packId } = await claimAndCommit();
    const gate = Promise.withResolvers<void>();
    const told: number[] = [];
    store.neighbours.letGoOfPacks = (packIds) => {
      told.push(...packIds);
      return gate.promise;
    };
    store.neighbours.referenced.clear();
    await store.layers.release([layerId]);
    expect(told).toEqual([packId]);
    const second = await claimAndCommit();
    expect(second.packId).toBe(packId + 1);
    gate.resolve();
    store.neighbours.referenced.clear();
    await store.layers.release([second.layerId]);
    expect((await claim()).packId).toBe(packId);
  });

  test("leaves nothing of a layer that cannot be made", async () => {
    const wrong = { ...tableOf(blob), toc: tableOf(blob).toc.subarray(1) };
    const failure = await rejection(store.layers.claim(wrong, base, never));
    expect(failure).toMatchObject({ code: "data_loss" });
    expect(await rejection(claim(AbortSignal.abort()))).toMatchObject({ code: "cancelled" });
    const lazy = await lazyBlob(rawTar([{ name: "below/file", content: "x" }]), "estargz");
    const upper = { ...base, lower: "unknown" } as const;
    const refused = await rejection(store.layers.claim(tableOf(lazy), upper, never));
    expect(refused).toMatchObject({ code: "failed_precondition" });
    expect([namesIn("packs"), namesIn("images")]).toEqual([[], []]);
  });

  test("takes directories from the layers below, where they are known", async () => {
    const lower = [folder.path];
    const lazy = await lazyBlob(rawTar([{ name: "packs/file", content: "x" }]), "estargz");
    const first = await store.layers.claim(tableOf(lazy), { ...base, lower }, never);
    // Another layer below would make another one of it.
    expect(await store.layers.findClaimed(...named(lazy), { ...base, lower })).toBeUndefined();
    store.layers.settle(first.layerId);
  });
});

/** A registry answers the range of the table with another one, whatever the blob's digest. */
async function lyingBlob(): Promise<MemoryBlob> {
  const lie = await lazyBlob(rawTar([{ name: "text", content: "a lie" }]), "estargz");
  return { ...lie, digest: blob.digest };
}

async function complete(layer: { layerId: number; packId: number }, of: MemoryBlob): Promise<void> {
  fillPack(store.root, layer.packId, of);
  await noteWhole(store.root, layer.packId);
  await store.layers.markComplete(layer.packId);
  await store.layers.promote(layer.layerId);
}

describe("a layer of a table that lies", () => {
  test.each(["first", "last"])("is no other image's, complete or not: %s", async (order) => {
    const lie = await lyingBlob();
    const blobs = order === "first" ? [lie, blob] : [blob, lie];
    const layers = [];
    for (const of of blobs) layers.push(await claimAndCommit(of));
    expect(layers.map(({ reused }) => reused)).toEqual([false, false]);
    for (const [at, of] of blobs.entries()) {
      await complete(layers[at]!, of);
      const found = await store.layers.findClaimed(...named(of), base);
      const [, tocDigest] = named(of);
      expect(found).toMatchObject({ isLazy: false, state: "complete", tocDigest });
      expect(await store.layers.claim(tableOf(of), base, never)).toHaveProperty(
        "layerId",
        found?.layerId,
      );
    }
    for (const tocDigest of [undefined, "sha256:other"]) {
      expect(await store.layers.findClaimed(blob.digest, tocDigest, base)).toBeUndefined();
    }
  });

  test("is not what the whole blob is, which is read and built", async () => {
    const lie = await lyingBlob();
    const layer = await claimAndCommit(lie);
    await complete(layer, lie);
    const { digest, sizeBytes, bytes } = blob;
    const file = join(folder.path, "blob");
    writeFileSync(file, bytes);
    const read = async () => bytes;
    const whole = { digest, sizeBytes, namespace: undefined, file, read };
    const applied = await store.layers.apply(whole, base, never);
    expect(applied).toMatchObject({ reused: false, diffId: blob.diffId });
    // From now on it is this one for everybody.
    for (const of of [lie, blob]) {
      const found = await store.layers.findClaimed(...named(of), base);
      expect(found).toMatchObject({ layerId: applied.layerId, diffId: blob.diffId });
    }
  });

  test("that nobody vouches for is found again only by the same bytes", async () => {
    const unverified = (of: MemoryBlob) => {
      const table = tableOf(of);
      const { format } = table.claim;
      return store.layers.claim({ ...table, claim: { format } }, base, never);
    };
    const [lie, honest] = [await unverified(await lyingBlob()), await unverified(blob)];
    expect([lie.reused, honest.reused]).toEqual([false, false]);
    expect(await unverified(blob)).toMatchObject({ layerId: honest.layerId, reused: true });
    expect(await store.layers.findClaimed(...named(blob), base)).toBeUndefined();
  });
});

describe("NodeLayerStore.promote()", () => {
  test("gives all snapshots the ordinary layer, and the blob too", async () => {
    const { layerId, packId } = await claimAndCommit();
    fillPack(store.root, packId, blob);
    const failure = await rejection(store.layers.markComplete(packId));
    expect(failure).toMatchObject({ code: "failed_precondition" });
    expect(lazyLayerOfPack(store.root.index, packId)).toMatchObject({ complete: 0 });
    await noteWhole(store.root, packId);
    await store.layers.markComplete(packId);
    expect(lazyLayerOfPack(store.root.index, packId)).toMatchObject({ complete: 1 });
    const promoted = defined(await store.layers.promote(layerId), "the promoted layer");
    expect([...store.neighbours.referenced]).toEqual([promoted.layerId]);
    expect(namesIn("packs")).toEqual(["1.pack"]);
    expect(namesIn("images")).toEqual([`${promoted.layerId}.erofs`]);
    const found = await store.layers.findClaimed(...named(blob), base);
    expect(found).toMatchObject({ layerId: promoted.layerId, isLazy: false, state: "complete" });
    expect(findings()).toEqual([]);
  });

  test("changes nothing where a piece is missing", async () => {
    const { layerId, packId } = await claimAndCommit();
    fillPack(store.root, packId, blob, (piece) => piece === 1);
    const failure = await rejection(store.layers.promote(layerId));
    expect(failure).toMatchObject({ code: "data_loss" });
    expect([...store.neighbours.referenced]).toEqual([layerId]);
    expect(existsSync(packPath(store.root.paths, packId))).toBe(true);
    expect(findings()).toEqual([]);
  });

  test("does nothing to a layer that no snapshot has", async () => {
    const { layerId } = await claim();
    expect(await store.layers.promote(layerId)).toBeUndefined();
    store.layers.settle(layerId);
  });
});

/**
 * Layers claimed by the compiled daemon with a real registry, and a fake in the place of containerd
 * that asks as containerd does.
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { status } from "@grpc/grpc-js";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensurePackages } from "../../scripts/lib/apt.ts";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import type { LazyView } from "../../src/claim/lazy-view.ts";
import type { PrefetchStatus } from "../../src/claim/prefetches.ts";
import { KiB } from "../../src/util/bytes.ts";
import { TestDaemon } from "../support/daemon.ts";
import { FakeContainerd } from "../support/fake-containerd.ts";
import { directory, file, hardLink, type Layer } from "../support/image/layer.ts";
import { chainIds, type Image, sha256 } from "../support/image/oci.ts";
import { makeLazyImage } from "../support/lazy/lazy-image.ts";
import { randomBytes } from "../support/random.ts";
import { Registry } from "../support/registry.ts";
import { rejection } from "../support/rejection.ts";
import { Kind, SnapshotsClient } from "../support/snapshots-client.ts";

setDefaultTimeout(60_000);

const base: Layer = [directory("", { mode: 0o751 }), file("base", randomBytes("base", 300_000))];
const middle: Layer = [directory("data"), file("data/middle", randomBytes("middle", 300_000))];
const top: Layer = [file("data/top", randomBytes("top", 200_000)), hardLink("top", "data/top")];

let folder: ScratchFolder;
let registry: Registry;
let containerd: FakeContainerd;
let daemon: TestDaemon;
let snapshots: SnapshotsClient;

beforeEach(async () => {
  await ensurePackages(["docker-registry"]);
  folder = scratchFolder("claim");
  registry = await Registry.start(join(folder.path, "r"));
  const address = join(folder.path, "c.sock");
  containerd = await FakeContainerd.start(address);
  const traceFolder = join(folder.path, "traces");
  mkdirSync(traceFolder);
  daemon = await TestDaemon.start(join(folder.path, "d"), {
    containerd: { address, root: join(folder.path, "c") },
    lazyBackend: "fuse",
    lazyBackground: "off",
    traceFolder,
  });
  snapshots = new SnapshotsClient(daemon.socket);
});

afterEach(async () => {
  await snapshots.removeAll();
  snapshots[Symbol.dispose]();
  await daemon.stop();
  await daemon[Symbol.asyncDispose]();
  await containerd[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** What containerd knows of an image before it unpacks it. */
async function publish(image: Image): Promise<string> {
  await registry.push(image);
  containerd.blobs.set(sha256(image.manifest), image.manifest);
  return registry.reference(image);
}

let keys = 0;

/**
 * As containerd's unpacker, up to the first layer that it would have to download.
 *
 * @returns of each layer the snapshot that was claimed, or undefined for one to be pulled
 */
async function unpack(image: Image, namespace = "default"): Promise<(string | undefined)[]> {
  const names: (string | undefined)[] = [];
  let parent = "";
  for (const [index, target] of chainIds(image.layers.map(({ diffId }) => diffId)).entries()) {
    const labels = new Map([
      ["containerd.io/snapshot.ref", target],
      ["containerd.io/snapshot/cri.image-ref", registry.reference(image)],
      ["containerd.io/snapshot/cri.manifest-digest", sha256(image.manifest)],
      ["containerd.io/snapshot/cri.layer-digest", image.layers[index]?.digest ?? ""],
    ]);
    const name = await prepareLayer(`${namespace}/${++keys}/extract`, parent, labels, target);
    names.push(name);
    if (name === undefined) return names;
    parent = name;
  }
  return names;
}

async function prepareLayer(
  key: string,
  parent: string,
  labels: ReadonlyMap<string, string>,
  target: string,
): Promise<string | undefined> {
  const answer = await snapshots.prepare(key, parent, labels).catch((error: unknown) => error);
  if (Array.isArray(answer)) return undefined;
  expect(answer).toMatchObject({ code: status.ALREADY_EXISTS });
  const filter = `labels."containerd.io/snapshot.ref"==${target},parent=="${parent}"`;
  // As containerd: those that a layer is being unpacked to have the label, too.
  const found = (await snapshots.list([filter])).filter(({ kind }) => kind === Kind.COMMITTED);
  expect(found).toHaveLength(1);
  return found[0]?.name;
}

/** What was read of the layers of an image. */
function readBytes(image: Image): number {
  return registry
    .requests()
    .filter(({ method, path }) => method === "GET" && path.includes("/blobs/"))
    .filter(({ path }) => image.layers.some(({ digest }) => path.includes(digest)))
    .reduce((sum, { sentBytes }) => sum + sentBytes, 0);
}

describe("a claimed image", () => {
  test("has all of its layers after some kilobytes were read, also after a restart", async () => {
    const image = await makeLazyImage("app:1", [
      ["estargz", base],
      ["zstd-chunked", middle],
      ["estargz", top],
    ]);
    const reference = await publish(image);
    const names = await unpack(image);
    expect(names.every((name) => name !== undefined)).toBe(true);
    expect(readBytes(image)).toBeLessThan(64 * KiB);
    const decisions = async () => (await daemon.ask<LazyView>("GET", "/lazy")).images;
    const before = await decisions();
    const lazyLayer = { decision: "lazy", reason: null };
    expect(before).toMatchObject([{ image: reference, layers: [lazyLayer, lazyLayer, lazyLayer] }]);
    expect((await daemon.stats()).lazy.claims).toMatchObject({ lazy: 3, not_lazy: 0 });

    await daemon.kill();
    await daemon.start();
    expect(await daemon.ask<object>("GET", "/healthz")).toMatchObject({ status: "ok" });
    expect(await daemon.ask<object>("GET", "/readyz")).toMatchObject({ ready: true, reasons: [] });
    expect((await decisions()).map(({ layers }) => layers.map(({ digest }) => digest))).toEqual(
      before.map(({ layers }) => layers.map(({ digest }) => digest)),
    );
    // The same again in another namespace needs no registry.
    await registry[Symbol.asyncDispose]();
    expect(await unpack(image, "other")).toEqual(names);
    expect(await daemon.cli("lazy")).toContain(`${image.layers[0]?.digest} lazy`);
    await snapshots.removeAll();
    await waitUntil(() => daemon.leftovers().length === 0, "something is left");
  });

  test("is pulled from the first layer on that is not lazy, and says why", async () => {
    const image = await makeLazyImage("app:2", [
      ["estargz", base],
      ["plain", middle],
    ]);
    await publish(image);
    const names = await unpack(image);
    expect(names).toEqual([expect.any(String), undefined]);
    const [view] = (await daemon.ask<LazyView>("GET", "/lazy")).images;
    expect(view?.layers).toMatchObject([
      { decision: "lazy" },
      {
        decision: "not lazy",
        reason: "the image names no table of contents for it",
        state: null,
        layer: null,
      },
    ]);
  });

  test("is not taken for another one that says to have its layers", async () => {
    const reason = "its chain ID is taken by a layer that was made of another table of contents";
    for (const [name, layer] of Object.entries({ lying: base, lied: middle })) {
      const honest = await makeLazyImage(`${name}-honest:1`, [["estargz", layer]]);
      const lie = await makeLazyImage(`${name}-lie:1`, [
        ["estargz", [...layer, file("more", "x")]],
      ]);
      const layers = lie.layers.map((blob) => ({ ...blob, diffId: honest.layers[0]!.diffId }));
      const hostile = { ...lie, layers };
      const [first, second] = name === "lying" ? [hostile, honest] : [honest, hostile];
      for (const image of [first, second]) await publish(image);
      const names = await unpack(first);
      expect(names).toEqual([expect.any(String)]);
      for (const namespace of ["default", "other"]) {
        expect(await unpack(second, namespace)).toEqual([undefined]);
        expect(await unpack(first, namespace)).toEqual(names);
      }
      const { images } = await daemon.ask<LazyView>("GET", "/lazy");
      const view = images.find(({ image }) => image === registry.reference(second));
      expect(view?.layers).toMatchObject([{ decision: "not lazy", reason }]);
    }
  });

  test("is pulled where the registry does not have what the manifest promises", async () => {
    const image = await makeLazyImage("app:3", [["estargz", base]]);
    containerd.blobs.set(sha256(image.manifest), image.manifest);
    expect(await unpack(image)).toEqual([undefined]);
    const [view] = (await daemon.ask<LazyView>("GET", "/lazy")).images;
    expect(view?.layers[0]?.reason).toContain("Registry");
  });
});

describe("prefetch", () => {
  test("brings what a trace names, and then all", async () => {
    // A layer that is complete is promoted at once, and then nothing is known of its pieces.
    const rest = file("rest", randomBytes("rest", 300_000));
    const image = await makeLazyImage("app:1", [
      ["estargz", [...base, rest]],
      ["zstd-chunked", middle],
    ]);
    const reference = await publish(image);
    await unpack(image);
    const content = randomBytes("base", 300_000);
    const hash = sha256(content).slice("sha256:".length);
    const unknown = "ab".repeat(32);
    writeFileSync(join(folder.path, "traces", "start"), `${hash}\n\n${unknown}\n`);
    const started = await daemon.ask<PrefetchStatus>("POST", "/prefetch", {
      image: reference,
      trace: "start",
    });
    expect(started).toMatchObject({ pieces: 1, bytes: 300_000, unknown: 1, layers: 2 });
    expect(await daemon.cli("prefetch", reference, "--trace", "start")).toBe(
      "1 chunks, 293 KiB are there\n",
    );
    expect(await daemon.cli("prefetch", reference)).toContain("879 KiB are there");
  });

  test("reads no file but below the folder of traces, and knows what it claimed", async () => {
    const image = await makeLazyImage("app:1", [["estargz", base]]);
    const reference = await publish(image);
    await unpack(image);
    symlinkSync("/etc/passwd", join(folder.path, "traces", "link"));
    for (const trace of ["/etc/passwd", "../d/config.json", "link"]) {
      const refusal = rejection(daemon.cli("prefetch", reference, "--trace", trace));
      expect(String(await refusal)).toContain("is not below prefetch.trace_dir");
    }
    const unknown = String(await rejection(daemon.cli("prefetch", "other.example/app:1")));
    expect(unknown).toContain("was not pulled with lazy layers");
  });
});

import { describe, expect, test } from "bun:test";
import {
  ImageTables,
  type ImageTablesOptions,
  releaseTable,
} from "../../../src/claim/image-tables.ts";
import type { ManifestRequest } from "../../../src/claim/manifest.ts";
import type { OciManifest } from "../../../src/oci/schema.ts";
import { MiB } from "../../../src/util/bytes.ts";
import type { MemoryBlob } from "../../support/lazy/lazy-blob.ts";
import { rejection } from "../../support/rejection.ts";
import { descriptorOf, FakeRegistry, makeBlob, manifestOf } from "./fakes.ts";

const request: ManifestRequest = {
  image: "registry.example/app:1",
  manifestDigest: "sha256:manifest",
  namespace: "default",
};
const { signal } = new AbortController();

class TestImage implements Disposable {
  readonly registry = new FakeRegistry();
  readonly tables: ImageTables;
  readonly manifest: OciManifest;
  manifests = 0;
  expected = 0;
  manifestFailure: unknown;

  constructor(
    manifest: OciManifest,
    blobs: readonly MemoryBlob[],
    options: Partial<ImageTablesOptions> = {},
  ) {
    this.manifest = manifest;
    this.registry.add(...blobs);
    this.tables = new ImageTables({
      manifest: async () => {
        this.manifests += 1;
        if (this.manifestFailure !== undefined) throw this.manifestFailure;
        return manifest;
      },
      ranges: this.registry.ranges,
      isKnown: () => false,
      expect: () => (this.expected += 1),
      allowUnverified: false,
      timeoutMs: 60_000,
      ...options,
    });
  }

  static async of(names: readonly string[], options: Partial<ImageTablesOptions> = {}) {
    const blobs = await Promise.all(names.map((name) => makeBlob(name)));
    return new TestImage(manifestOf(blobs.map((blob) => descriptorOf(blob))), blobs, options);
  }

  table(index: number) {
    return this.tables.table(request, this.manifest.layers[index]?.digest ?? "", signal);
  }

  [Symbol.dispose](): void {
    this.tables.close();
  }
}

describe("ImageTables", () => {
  test("fetches the tables of all layers at the first question, each once", async () => {
    using image = await TestImage.of(["a", "b", "c"]);
    const { promise, resolve } = Promise.withResolvers();
    image.registry.gate = promise;
    const first = image.table(0);
    await Bun.sleep(0);
    expect(image.registry.reads.map(({ digest }) => digest)).toEqual(
      image.manifest.layers.map(({ digest }) => digest),
    );
    resolve(undefined);
    expect(await first).toMatchObject({ blobBytes: image.manifest.layers[0]!.size });
    expect(image.tables.heldBytes).toBeGreaterThan(0);
    releaseTable(first);
    for (const index of [1, 2]) releaseTable(image.table(index));
    await Bun.sleep(0);
    expect(image.registry.reads).toHaveLength(3);
    expect(image.manifests).toBe(1);
    expect(image.expected).toBe(1);
    expect(image.tables.heldBytes).toBe(0);
  });

  test("expects nothing of an image without tables, nor of one that is known", async () => {
    const blob = await makeBlob("a");
    using plain = new TestImage(manifestOf([descriptorOf(blob, { annotations: {} })]), [blob]);
    expect(await plain.table(0)).toHaveProperty("reason");
    using known = await TestImage.of(["a"], { isKnown: () => true });
    releaseTable(known.tables.tableAhead(request, known.manifest.layers[0]!.digest));
    expect([plain.expected, known.expected]).toEqual([0, 0]);
  });

  test("holds only so much of all tables at a time: those that are asked for wait", async () => {
    const tocBytes = 50 * MiB;
    const blobs = await Promise.all(["a", "b", "c", "d"].map((name) => makeBlob(name)));
    const annotations = {
      "io.github.containers.zstd-chunked.manifest-checksum": `sha256:${"11".repeat(32)}`,
      "io.github.containers.zstd-chunked.manifest-position": `1000:${tocBytes}:${tocBytes}:1`,
    };
    const size = 2 * tocBytes;
    const layers = blobs.map((blob) => descriptorOf(blob, { size, annotations }));
    using image = new TestImage(manifestOf(layers), blobs);
    const held = [await image.table(0), await image.table(1)];
    expect(image.tables.heldBytes).toBe(2 * tocBytes);
    expect(await image.tables.tableAhead(request, layers[2]!.digest)).toBeUndefined();
    const third = image.table(2);
    await Bun.sleep(0);
    expect(image.registry.reads).toHaveLength(2);
    releaseTable(Promise.resolve(held[1]!));
    expect(await third).toHaveProperty("toc");
    expect(image.tables.heldBytes).toBe(2 * tocBytes);
  });

  test("gives back what was fetched for nobody", async () => {
    using image = await TestImage.of(["a", "b"]);
    releaseTable(image.table(0));
    await Bun.sleep(0);
    expect(image.tables.heldBytes).toBeGreaterThan(0);
    image.tables.close();
    await Bun.sleep(0);
    expect(image.tables.heldBytes).toBe(0);
  });

  test("keeps no table that was used: whoever asks again has it fetched again", async () => {
    using image = await TestImage.of(["a", "b"]);
    await image.table(0);
    await image.table(0);
    expect(image.registry.reads).toHaveLength(3);
  });

  test("leaves out layers that are known", async () => {
    let known = "";
    using image = await TestImage.of(["a", "b"], { isKnown: ({ digest }) => digest === known });
    known = image.manifest.layers[1]!.digest;
    await image.table(0);
    expect(image.registry.reads).toHaveLength(1);
  });

  test("says why a layer has no table", async () => {
    const blob = await makeBlob("a");
    const both = {
      "io.github.containers.zstd-chunked.manifest-checksum": `sha256:${"11".repeat(32)}`,
    };
    const descriptors = [
      descriptorOf(blob, { annotations: {} }),
      descriptorOf(blob, { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted" }),
      descriptorOf(blob, { urls: ["https://elsewhere.example/layer"] }),
      descriptorOf(blob, { annotations: { ...blob.annotations, ...both } }),
      descriptorOf(blob, { annotations: { "containerd.io/snapshot/stargz/toc.digest": "x" } }),
    ];
    for (const [index, descriptor] of descriptors.entries()) {
      descriptor.digest = `sha256:${`${index}`.repeat(64)}`;
    }
    using image = new TestImage(manifestOf(descriptors), []);
    const reasons = await Promise.all(descriptors.map((_, index) => image.table(index)));
    expect(reasons).toEqual([
      { reason: "the image names no table of contents for it" },
      { reason: 'its type is "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"' },
      { reason: "it is not kept in the registry" },
      { reason: "The table of contents of the layer has tables of two formats" },
      { reason: 'The table of contents of the layer has the digest "x"' },
    ]);
    expect(await image.tables.table(request, "sha256:other", signal)).toEqual({
      reason: "the manifest of the image has no such layer",
    });
    expect(image.registry.reads).toEqual([]);
  });

  test("looks for a table that nobody vouches for only where that is allowed", async () => {
    const blob = await makeBlob("a");
    const manifest = manifestOf([descriptorOf(blob, { annotations: {} })]);
    using image = new TestImage(manifest, [blob], { allowUnverified: true });
    expect(await image.table(0)).toMatchObject({ claim: { format: "estargz" } });
    image.registry.blobs.set(blob.digest, { ...blob, bytes: Buffer.alloc(blob.sizeBytes) });
    expect(await image.table(0)).toEqual({
      reason: "neither the image nor its end names a table of contents",
    });
  });

  test("remembers that a manifest cannot be had, but not for the next image", async () => {
    using image = await TestImage.of(["a", "b"]);
    image.manifestFailure = new Error("no registry");
    expect(await rejection(image.table(0))).toBe(image.manifestFailure);
    expect(await rejection(image.table(1))).toBe(image.manifestFailure);
    expect(image.manifests).toBe(1);
    const other = { ...request, manifestDigest: "sha256:other" };
    expect(await rejection(image.tables.manifest(other))).toBe(image.manifestFailure);
    expect(image.manifests).toBe(2);
  });

  test("fails all layers at once where the registry does not answer in time", async () => {
    using image = await TestImage.of(["a", "b", "c"], { timeoutMs: 20 });
    image.registry.gate = new Promise(() => {});
    const failures = await Promise.all([0, 1, 2].map((index) => rejection(image.table(index))));
    expect(failures.map((failure) => (failure as Error).name)).toEqual(
      Array(3).fill("TimeoutError"),
    );
    expect(image.registry.reads).toHaveLength(3);
    expect(image.tables.heldBytes).toBe(0);
  });

  test("ends what is being fetched when it is closed", async () => {
    const image = await TestImage.of(["a"]);
    image.registry.gate = new Promise(() => {});
    const answer = image.table(0);
    await Bun.sleep(0);
    image.tables.close();
    expect(await rejection(answer)).toMatchObject({ code: "cancelled" });
  });
});

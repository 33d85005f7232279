import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder, type ScratchFolder } from "../../../scripts/lib/temp.ts";
import type { ConversionReport } from "../../../src/convert/events.ts";
import { convertImage, type ConversionOptions } from "../../../src/convert/image.ts";
import { convertLayer } from "../../../src/convert/layer.ts";
import { parsePlatform } from "../../../src/convert/platform.ts";
import { AppError } from "../../../src/errors.ts";
import type { ImageSource } from "../../../src/oci/contract.ts";
import { openSource, openTarget } from "../../../src/oci/open-image.ts";
import { hardCaseLayers } from "../../support/image/hard-cases.ts";
import {
  layoutIndex,
  layoutManifest,
  readBlob,
  readDocument,
  type TestIndex,
  type TestManifest,
  writeBlob,
  writeImage,
  writeJson,
  writeLayout,
  writeLayoutIndex,
} from "../../support/image/layout.ts";
import { directory, file, type Layer } from "../../support/image/layer.ts";
import { makeImage, manifestType, packLayer, sha256 } from "../../support/image/oci.ts";
import { decompressAll, readLazy } from "../../support/lazy/lazy-blob.ts";
import { rejection } from "../../support/rejection.ts";

const noRegistries = {
  client: () => {
    throw new Error("no registry");
  },
  parse: () => {
    throw new Error("no registry");
  },
};

const defaults: ConversionOptions = {
  format: "estargz",
  platform: undefined,
  wanted: [],
  traced: [],
};

const withoutRanges: Partial<ImageSource> = {
  blobRange: () => Promise.reject(new AppError("unimplemented", "no ranges")),
};

/** @param change what the source does otherwise */
async function convert(
  from: string,
  to: string,
  options: Partial<ConversionOptions> = {},
  change: Partial<ImageSource> = {},
): Promise<ConversionReport & { readonly leftOut: readonly string[] }> {
  const source = Object.assign(await openSource(from, noRegistries), change);
  const target = await openTarget(to, noRegistries, from);
  const leftOut: string[] = [];
  const events = {
    started: () => undefined,
    progressed: () => undefined,
    layerDone: () => undefined,
    leftOut: (what: string) => void leftOut.push(what),
  };
  try {
    const all = { ...defaults, ...options };
    return { ...(await convertImage(source, target, all, convertLayer, events)), leftOut };
  } finally {
    await target.close();
  }
}

const small: Layer = [directory("d"), file("d/a", "first\n"), file("b", "second\n".repeat(999))];
const layers = [packLayer(small), packLayer([file("c", "third\n")]), packLayer(small)];
const image = makeImage("small:1", layers);

let scratch: ScratchFolder;
let source: string;
let folders = 0;

function newFolder(): string {
  folders += 1;
  return join(scratch.path, `out-${folders}`);
}

beforeAll(async () => {
  scratch = scratchFolder("convert");
  source = join(scratch.path, "source");
  await writeLayout(source, image);
});

afterAll(() => scratch[Symbol.dispose]());

interface Config {
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

/** Throws unless each layer is what the manifest, the configuration and the table say. */
async function requireRight(layout: string, manifest: TestManifest): Promise<void> {
  const config = readDocument<Config>(layout, manifest.config.digest);
  expect(sha256(readBlob(layout, manifest.config.digest))).toBe(manifest.config.digest as never);
  for (const [index, layer] of manifest.layers.entries()) {
    const blob = readBlob(layout, layer.digest);
    expect(sha256(blob) as string).toBe(layer.digest);
    expect(blob.length).toBe(layer.size);
    expect(sha256(decompressAll(blob)) as string).toBe(config.rootfs.diff_ids[index] ?? "");
    await readLazy(blob, layer.annotations ?? {});
  }
}

describe("convertImage", () => {
  test.each(["estargz", "zstd-chunked"] as const)("makes an image of %s", async (format) => {
    const out = newFolder();
    const report = await convert(source, out, { format });
    const manifest = layoutManifest(out);
    await requireRight(out, manifest);
    const suffix = format === "estargz" ? "gzip" : "zstd";
    const types = manifest.layers.map(({ mediaType }) => mediaType);
    expect(new Set(types)).toEqual(new Set([`application/vnd.oci.image.layer.v1.tar+${suffix}`]));
    expect(manifest.layers[0]).toEqual(manifest.layers[2] as never);
    expect(report.digest).toBe(layoutIndex(out).manifests[0]?.digest ?? "");
    expect(report.layers).toHaveLength(2);
    expect(readdirSync(out).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  });

  test("zstd:chunked keeps tars, and with them the configuration", async () => {
    const out = newFolder();
    await convert(source, out, { format: "zstd-chunked" });
    expect(layoutManifest(out).config.digest).toBe(layoutManifest(source).config.digest);
  });

  test("the same image becomes the same one again", async () => {
    const outs = [newFolder(), newFolder()];
    const reports = [];
    for (const out of outs) reports.push(await convert(source, out, { wanted: ["c", "d/a"] }));
    expect(reports[0]?.digest).toBe(reports[1]?.digest ?? "");
  });

  test("layers that are lazy already stay", async () => {
    const [first, second] = [newFolder(), newFolder()];
    const made = await convert(source, first);
    const again = await convert(first, second);
    expect(again.digest).toBe(made.digest);
    const reasons = again.layers.map(({ keptBecause }) => keptBecause);
    expect(reasons).toEqual(["is lazy already", "is lazy already"]);
  });

  test("layers with content of a trace are made anew, the others stay", async () => {
    const [first, second] = [newFolder(), newFolder()];
    await convert(source, first);
    const traced = ["third\n", "nowhere"].map((text) => sha256(Buffer.from(text)).slice(7));
    const { layers: outcomes, unknown } = await convert(first, second, { traced });
    const reasons = outcomes.map(({ keptBecause }) => keptBecause);
    expect(new Set(reasons)).toEqual(new Set(["is lazy already", undefined]));
    expect(unknown).toBe(1);
  });

  test("a lazy layer is made anew where the source has no ranges", async () => {
    const [first, second] = [newFolder(), newFolder()];
    const made = await convert(source, first);
    const again = await convert(first, second, {}, withoutRanges);
    expect(again.digest).toBe(made.digest);
    expect(again.layers.map(({ keptBecause }) => keptBecause)).toEqual([undefined, undefined]);
  });

  test("a layer whose table is another one is made anew", async () => {
    const first = newFolder();
    await convert(source, first);
    const manifest = layoutManifest(first);
    const key = "containerd.io/snapshot/stargz/toc.digest";
    const wrong = { [key]: `sha256:${"0".repeat(64)}` };
    const changed = manifest.layers.map((layer) => ({ ...layer, annotations: wrong }));
    writeLayoutIndex(first, [writeJson(first, { ...manifest, layers: changed }, manifestType)]);
    const out = newFolder();
    const report = await convert(first, out);
    expect(report.layers.map(({ keptBecause }) => keptBecause)).toEqual([undefined, undefined]);
    await requireRight(out, layoutManifest(out));
  });

  test("goes from one format to the other and leaves the annotations of the first", async () => {
    const [first, out] = [newFolder(), newFolder()];
    await convert(source, first);
    await convert(first, out, { format: "zstd-chunked" });
    const keys = Object.keys(layoutManifest(out).layers[0]?.annotations ?? {});
    expect(keys.filter((key) => key.includes("stargz"))).toEqual([]);
    await requireRight(out, layoutManifest(out));
  });

  test("a layer no table can describe stays, with the reason", async () => {
    const hard = join(scratch.path, "hard");
    await writeLayout(hard, makeImage("hard:1", hardCaseLayers().map(packLayer)));
    const out = newFolder();
    const report = await convert(hard, out);
    const kept = report.layers.filter(({ keptBecause }) => keptBecause !== undefined);
    expect(kept).toHaveLength(1);
    expect(kept[0]?.keptBecause).toContain("no UTF-8");
    expect(layoutManifest(out).layers[0]?.digest).toBe(
      layoutManifest(hard).layers[0]?.digest ?? "",
    );
  });

  test("says which wanted files no layer has", async () => {
    const report = await convert(source, newFolder(), { wanted: ["c", "d/a", "nowhere"] });
    expect(report.missing).toEqual(["nowhere"]);
  });

  test("names a damaged layer, and makes no image", async () => {
    const damaged = join(scratch.path, "damaged");
    await writeLayout(damaged, image);
    const { digest } = image.layers[1] ?? { digest: "sha256:" };
    const path = join(damaged, "blobs/sha256", digest.slice("sha256:".length));
    const bytes = readFileSync(path);
    bytes.writeUInt8(bytes.readUInt8(20) ^ 1, 20);
    writeFileSync(path, bytes);
    const out = newFolder();
    const error = await rejection(convert(damaged, out));
    expect(error).toMatchObject({ code: "data_loss" });
    expect(String(error)).toContain(digest);
    expect(readdirSync(out)).toEqual(["blobs"]);
  });

  test("a tar that is not the configured one is refused", async () => {
    const wrong = join(scratch.path, "wrong");
    const [first] = image.layers;
    const layer = { ...first!, diffId: sha256(Buffer.from("another tar")) };
    await writeLayout(wrong, makeImage("wrong:1", [layer]));
    expect(await rejection(convert(wrong, newFolder()))).toMatchObject({ code: "data_loss" });
  });

  test("Docker's types become OCI's", async () => {
    const docker = join(scratch.path, "docker");
    const manifest = layoutManifest(source);
    const type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    const value = {
      ...manifest,
      mediaType: "application/vnd.docker.distribution.manifest.v2+json",
      config: { ...manifest.config, mediaType: "application/vnd.docker.container.image.v1+json" },
      layers: manifest.layers.map(({ digest, size }) => ({ digest, size, mediaType: type })),
    };
    await writeImage(docker, image);
    writeLayoutIndex(docker, [writeJson(docker, value, value.mediaType)]);
    const [out, other] = [newFolder(), newFolder()];
    await convert(docker, out);
    await convert(source, other);
    expect(layoutManifest(out)).toEqual(layoutManifest(other));
  });
});

describe("an image of several platforms", () => {
  const platforms = ["amd64", "arm64"].map((architecture) => ({ os: "linux", architecture }));
  let several: string;

  beforeAll(async () => {
    several = join(scratch.path, "several");
    const manifests = [];
    for (const platform of platforms) {
      const own = makeImage("own:1", [
        packLayer(small),
        packLayer([file("p", platform.architecture)]),
      ]);
      const config = { ...(JSON.parse(Buffer.from(own.config).toString()) as object), ...platform };
      await writeImage(several, own);
      const descriptor = writeJson(several, config, "application/vnd.oci.image.config.v1+json");
      const manifest = JSON.parse(Buffer.from(own.manifest).toString()) as object;
      const made = writeJson(several, { ...manifest, config: descriptor }, manifestType);
      manifests.push({ ...made, platform });
    }
    const attestation = {
      ...writeBlob(several, Buffer.from("{}")),
      annotations: { "vnd.docker.reference.type": "attestation-manifest" },
    };
    const index = { schemaVersion: 2, manifests: [...manifests, attestation] };
    const type = "application/vnd.oci.image.index.v1+json";
    const tag = { annotations: { "org.opencontainers.image.ref.name": "v1" } };
    writeLayoutIndex(several, [{ ...writeJson(several, index, type), ...tag }]);
  });

  test("keeps them all, and leaves out what speaks of the old ones", async () => {
    const out = newFolder();
    const report = await convert(`oci:${several}:v1`, `oci:${out}:v2`);
    expect(report.leftOut).toHaveLength(1);
    expect(report.layers).toHaveLength(3);
    const [root] = layoutIndex(out).manifests;
    expect(root?.annotations).toEqual({ "org.opencontainers.image.ref.name": "v2" });
    const index = readDocument<TestIndex>(out, root?.digest ?? "");
    expect(index.manifests.map(({ platform }) => platform)).toEqual(platforms);
    for (const { digest } of index.manifests) {
      await requireRight(out, readDocument<TestManifest>(out, digest));
    }
  });

  test("becomes the image of the one that was chosen", async () => {
    const out = newFolder();
    await convert(several, out, { platform: parsePlatform("linux/arm64/v8") });
    const { architecture } = readDocument<{ architecture: string }>(
      out,
      layoutManifest(out).config.digest,
    );
    expect(architecture).toBe("arm64");
    const absent = convert(several, newFolder(), { platform: parsePlatform("linux/s390x") });
    expect(String(await rejection(absent))).toContain("no image for linux/s390x");
  });

  test("goes through a tar and back", async () => {
    const [archive, out] = [`${newFolder()}.tar`, newFolder()];
    const made = await convert(several, `oci:${archive}:v3`);
    const again = await convert(`oci:${archive}:v3`, out);
    expect(again.digest).toBe(made.digest);
    expect(again.layers.every(({ keptBecause }) => keptBecause === "is lazy already")).toBe(true);
    const twice = `${newFolder()}.tar`;
    await convert(several, `oci:${twice}:v3`);
    expect(readFileSync(twice).equals(readFileSync(archive))).toBe(true);
  });

  test("stands beside the other images of a layout", async () => {
    const out = newFolder();
    await convert(several, `oci:${out}:all`);
    await convert(several, `oci:${out}:one`, { platform: parsePlatform("linux/amd64") });
    await convert(several, `oci:${out}:all`, { format: "zstd-chunked" });
    expect(layoutIndex(out).manifests).toHaveLength(2);
    expect(String(await rejection(convert(out, newFolder())))).toContain("more than one image");
  });
});

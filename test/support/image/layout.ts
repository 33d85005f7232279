/**
 * Images of tests in OCI layouts on disk: written there, and read back as something to push.
 *
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Digest, type Image, type LayerBlob, manifestType, sha256 } from "./oci.ts";

export interface TestDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

export interface TestManifest {
  readonly mediaType: string;
  readonly config: TestDescriptor;
  readonly layers: readonly TestDescriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface TestIndex {
  readonly mediaType?: string;
  readonly manifests: readonly TestDescriptor[];
}

/** Where a layout has a blob. */
export function blobPath(layout: string, digest: string): string {
  return join(layout, "blobs", "sha256", digest.slice("sha256:".length));
}

export function readBlob(layout: string, digest: string): Buffer {
  return readFileSync(blobPath(layout, digest));
}

/** The JSON of a blob. */
export function readDocument<T>(layout: string, digest: string): T {
  return JSON.parse(readBlob(layout, digest).toString()) as T;
}

export function writeBlob(layout: string, bytes: Uint8Array): TestDescriptor {
  const digest = sha256(bytes);
  mkdirSync(join(layout, "blobs", "sha256"), { recursive: true });
  writeFileSync(blobPath(layout, digest), bytes);
  return { mediaType: "application/octet-stream", digest, size: bytes.length };
}

export function writeJson(layout: string, value: unknown, mediaType: string): TestDescriptor {
  return { ...writeBlob(layout, Buffer.from(JSON.stringify(value))), mediaType };
}

/** Makes the manifests the images of the layout. */
export function writeLayoutIndex(layout: string, manifests: readonly TestDescriptor[]): void {
  writeFileSync(join(layout, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(layout, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
}

/** The blobs of an image, without making it one of the layout's images. */
export async function writeImage(layout: string, image: Image): Promise<TestDescriptor> {
  for (const layer of image.layers) writeBlob(layout, await layer.read());
  writeBlob(layout, image.config);
  return { ...writeBlob(layout, image.manifest), mediaType: manifestType };
}

/** A layout with one image. */
export async function writeLayout(layout: string, image: Image): Promise<void> {
  writeLayoutIndex(layout, [await writeImage(layout, image)]);
}

/** The images of a layout, as its index has them. */
export function layoutIndex(layout: string): TestIndex {
  return JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as TestIndex;
}

/** The first image of a layout. */
export function layoutManifest(layout: string): TestManifest {
  const [first] = layoutIndex(layout).manifests;
  return readDocument<TestManifest>(layout, first?.digest ?? "");
}

/** An image of a layout, to be pushed under a name; layers are read when they are asked for. */
export function readImage(layout: string, digest: string, name: string): Image {
  const manifest = readDocument<TestManifest>(layout, digest);
  const config = readBlob(layout, manifest.config.digest);
  const { rootfs } = JSON.parse(config.toString()) as { rootfs: { diff_ids: Digest[] } };
  const layers = manifest.layers.map((layer, index): LayerBlob => {
    const diffId = rootfs.diff_ids[index];
    if (diffId === undefined) throw new Error(`${manifest.config.digest} has too few diff IDs`);
    const read = () => Bun.file(blobPath(layout, layer.digest)).bytes();
    return { digest: layer.digest as Digest, sizeBytes: layer.size, diffId, read };
  });
  return { name, layers, config, manifest: readBlob(layout, digest) };
}

/** The first image of a layout, to be pushed under a name. */
export function layoutImage(layout: string, name: string): Image {
  return readImage(layout, layoutIndex(layout).manifests[0]?.digest ?? "", name);
}

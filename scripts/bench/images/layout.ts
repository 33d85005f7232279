/**
 * OCI image layouts (image spec 1.0, image-layout.md): a folder with an `index.json` that names
 * manifests, and all blobs by digest.
 *
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Digest,
  type Image,
  type LayerBlob,
  manifestType,
  sha256,
} from "../../../test/support/image/oci.ts";

/** The annotation that holds the name of an image. */
const nameKey = "org.opencontainers.image.ref.name";

interface Descriptor {
  readonly digest: Digest;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Where a layout has a blob; the folder of them is made by `makeLayout`. */
export function blobPath(layout: string, digest: Digest): string {
  return join(blobFolder(layout), digest.slice("sha256:".length));
}

export function blobFolder(layout: string): string {
  return join(layout, "blobs", "sha256");
}

export function makeLayout(layout: string): void {
  mkdirSync(blobFolder(layout), { recursive: true });
  writeFileSync(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}

/** Adds configurations, manifests and the index of images whose layers the layout has. */
export function writeImages(layout: string, images: readonly Image[]): void {
  const manifests = images.map(({ name, config, manifest }) => {
    for (const blob of [config, manifest]) writeFileSync(blobPath(layout, sha256(blob)), blob);
    return {
      mediaType: manifestType,
      digest: sha256(manifest),
      size: manifest.length,
      annotations: { [nameKey]: name },
    };
  });
  writeFileSync(join(layout, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
}

function parse<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

function readImage(layout: string, { digest, annotations }: Descriptor): Image {
  type Manifest = { readonly config: Descriptor; readonly layers: readonly Descriptor[] };
  type Config = { readonly rootfs: { readonly diff_ids: readonly Digest[] } };
  const path = blobPath(layout, digest);
  const manifest = parse<Manifest>(path);
  const configPath = blobPath(layout, manifest.config.digest);
  const { diff_ids: diffIds } = parse<Config>(configPath).rootfs;
  const layers = manifest.layers.map((layer, index): LayerBlob => {
    const diffId = diffIds[index];
    if (diffId === undefined) throw new Error(`${configPath} has too few diff IDs`);
    const read = () => Bun.file(blobPath(layout, layer.digest)).bytes();
    return { digest: layer.digest, sizeBytes: layer.size, diffId, read };
  });
  return {
    name: annotations?.[nameKey] ?? "",
    layers,
    config: readFileSync(configPath),
    manifest: readFileSync(path),
  };
}

/** The images of a layout, in the order of its index; layers are read when they are asked for. */
export function readImages(layout: string): Image[] {
  type Index = { readonly manifests: readonly Descriptor[] };
  const index = parse<Index>(join(layout, "index.json"));
  return index.manifests.map((descriptor) => readImage(layout, descriptor));
}

/**
 * Images with lazy layers, as our own conversion would write them, made in memory.
 *
 * @module
 */
import { layerTarType } from "../../../src/containerd/descriptor.ts";
import type { LazyFormat } from "../../../src/lazy/model.ts";
import type { Layer } from "../image/layer.ts";
import { type Digest, type Image, makeImage, packLayer } from "../image/oci.ts";
import { writeTar } from "../image/tar.ts";
import { lazyBlob } from "./lazy-blob.ts";

/** What becomes of a layer: lazy in a format, or `plain`, a gzip blob without a table. */
export type LayerKind = LazyFormat | "plain";

/** @param layers lowest first */
export async function makeLazyImage(
  name: string,
  layers: readonly (readonly [LayerKind, Layer])[],
): Promise<Image> {
  const made = await Promise.all(layers.map(([kind, layer]) => makeLayer(kind, layer)));
  const plain = makeImage(
    name,
    made.map(({ blob }) => blob),
  );
  const manifest = JSON.parse(Buffer.from(plain.manifest).toString()) as { layers: object[] };
  for (const [index, { descriptor }] of made.entries()) {
    Object.assign(manifest.layers[index] ?? {}, descriptor);
  }
  return { ...plain, manifest: Buffer.from(JSON.stringify(manifest)) };
}

async function makeLayer(kind: LayerKind, layer: Layer) {
  if (kind === "plain") return { blob: packLayer(layer), descriptor: {} };
  const { bytes, digest, sizeBytes, diffId, annotations } = await lazyBlob(writeTar(layer), kind);
  const suffix = kind === "estargz" ? "gzip" : "zstd";
  const ids = { digest: digest as Digest, diffId: diffId as Digest };
  return {
    blob: { ...ids, sizeBytes, read: () => bytes },
    descriptor: { mediaType: `${layerTarType}+${suffix}`, annotations },
  };
}

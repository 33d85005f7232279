/**
 * OCI image layouts (image spec 1.0, image-layout.md) of several images with names.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  layoutIndex,
  readImage,
  writeBlob,
  writeLayoutIndex,
} from "../../../test/support/image/layout.ts";
import { type Image, manifestType } from "../../../test/support/image/oci.ts";

/** The annotation that holds the name of an image. */
const nameKey = "org.opencontainers.image.ref.name";

export function blobFolder(layout: string): string {
  return join(layout, "blobs", "sha256");
}

export function makeLayout(layout: string): void {
  mkdirSync(blobFolder(layout), { recursive: true });
}

/** Adds configurations, manifests and the index of images whose layers the layout has. */
export function writeImages(layout: string, images: readonly Image[]): void {
  const manifests = images.map(({ name, config, manifest }) => {
    writeBlob(layout, config);
    const written = writeBlob(layout, manifest);
    return { ...written, mediaType: manifestType, annotations: { [nameKey]: name } };
  });
  writeLayoutIndex(layout, manifests);
}

/** The images of a layout, in the order of its index; layers are read when they are asked for. */
export function readImages(layout: string): Image[] {
  return layoutIndex(layout).manifests.map(({ digest, annotations }) =>
    readImage(layout, digest, annotations?.[nameKey] ?? ""),
  );
}

/**
 * The images whose life is measured, with content from seeds.
 *
 * @module
 */
import { MiB } from "../../../src/util/bytes.ts";
import { directory, file, type Layer } from "../../../test/support/image/layer.ts";
import { type Image, makeImage, packLayer } from "../../../test/support/image/oci.ts";
import { convertedImage } from "../../../test/support/lazy/converted-image.ts";
import { randomBytes } from "../../../test/support/random.ts";
import { applicationTree, programText } from "../images/generated.ts";

const textBytes = 128 * MiB;
const weightBytes = 256 * MiB;
/** What nobody reads, so that the pack stays incomplete. */
const unreadBytes = 32 * MiB;

/** The large files of the image that is read. */
export const largeFiles = ["text", "weights"] as const;

export interface LargeImage {
  /** As any builder makes it. */
  readonly plain: Image;
  readonly lazy: Image;
}

export async function largeImage(folder: string): Promise<LargeImage> {
  const part = programText("text", 8 * MiB);
  const parts = Array.from({ length: textBytes / part.length }, (_, index) =>
    Buffer.concat([Buffer.from(`part ${index}\n`), part]),
  );
  const layer: Layer = [
    file("text", Buffer.concat(parts)),
    file("weights", randomBytes("weights", weightBytes)),
    file("unread", randomBytes("unread", unreadBytes)),
  ];
  const lazy = await convertedImage(folder, "large:1", [layer]);
  return { plain: makeImage("large:plain", [packLayer(layer)]), lazy };
}

/** Images that have nothing in common. */
export async function manyImages(folder: string, count: number, files: number): Promise<Image[]> {
  const images: Image[] = [];
  for (let index = 0; index < count; index++) {
    const layer = [directory("srv"), ...applicationTree(`srv/app${index}`, files, 1).slice(1)];
    images.push(await convertedImage(folder, `many${index}:1`, [layer]));
  }
  return images;
}

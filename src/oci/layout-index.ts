/**
 * `index.json` of an OCI layout (image-layout.md): the images of the layout, by tag.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { mediaType, type OciDescriptor, type OciIndex } from "./schema.ts";

/** What a tag is kept in. */
export const refNameAnnotation = "org.opencontainers.image.ref.name";

export const emptyIndex: OciIndex = {
  schemaVersion: 2,
  mediaType: mediaType.index,
  manifests: [],
};

function tagOf(descriptor: OciDescriptor): string | undefined {
  return descriptor.annotations?.[refNameAnnotation];
}

/** The image of a tag; without a tag, the only one. */
export function findImage(index: OciIndex, tag: string | undefined, where: string): OciDescriptor {
  const fitting = index.manifests.filter(
    (descriptor) => tag === undefined || tagOf(descriptor) === tag,
  );
  const [image] = fitting;
  if (image !== undefined && fitting.length === 1) return image;
  const tags = index.manifests.map((descriptor) => tagOf(descriptor) ?? descriptor.digest);
  const remedy = `name one of: ${tags.join(", ")}`;
  const problem = fitting.length === 0 ? "no image" : "more than one image";
  const wanted = tag === undefined ? "" : ` with the tag "${tag}"`;
  const options = tags.length === 0 ? {} : { remedy };
  throw new AppError("not_found", `"${where}" has ${problem}${wanted}`, options);
}

/** The index with an image in the place of the one that had its tag, or at the end. */
export function withImage(
  index: OciIndex,
  image: OciDescriptor,
  tag: string | undefined,
): OciIndex {
  const annotations = tag === undefined ? {} : { annotations: { [refNameAnnotation]: tag } };
  const entry: OciDescriptor = { ...image, ...annotations };
  const isReplaced = (other: OciDescriptor) =>
    tag === undefined ? other.digest === image.digest : tagOf(other) === tag;
  const others = index.manifests.filter((other) => !isReplaced(other));
  return { ...index, manifests: [...others, entry] };
}

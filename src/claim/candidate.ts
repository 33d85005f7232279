/**
 * Whether a layer can be lazy, as far as the manifest of its image says.
 *
 * @module
 */
import { isLayerType } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import { lazyClaim } from "../lazy/annotations.ts";
import type { TocClaim } from "../lazy/open.ts";
import type { OciDescriptor, OciManifest } from "../oci/schema.ts";

/** `claim` is undefined where only the end of the blob can tell; with a reason it is not lazy. */
export type Candidate = { readonly claim: TocClaim | undefined } | { readonly reason: string };

/** @param allowUnverified whether a table is good that the manifest does not vouch for */
export function candidateOf(descriptor: OciDescriptor, allowUnverified: boolean): Candidate {
  const { mediaType, urls, annotations } = descriptor;
  if (!isLayerType(mediaType)) return { reason: `its type is "${mediaType}"` };
  if (urls != null && urls.length > 0) return { reason: "it is not kept in the registry" };
  try {
    const claim = lazyClaim(annotations ?? {});
    if (claim !== undefined || allowUnverified) return { claim };
    return { reason: "the image names no table of contents for it" };
  } catch (error) {
    if (error instanceof AppError) return { reason: error.message };
    throw error;
  }
}

/** The digest of the table that the manifest vouches for; undefined where there is none. */
export function namedToc(descriptor: OciDescriptor): string | undefined {
  const candidate = candidateOf(descriptor, false);
  return "reason" in candidate ? undefined : candidate.claim?.tocDigest;
}

/**
 * Whether the layer may be one without a parent. containerd 2.2 prepares all layers so where it
 * unpacks them side by side; what it then found for an upper one would lack its parents.
 */
export function isFirstLayer({ layers }: OciManifest, digest: string): boolean {
  return (
    layers.findIndex((layer) => layer.digest === digest) === 0 &&
    layers.filter((layer) => layer.digest === digest).length === 1
  );
}

/**
 * Manifests, indexes and configurations of images (OCI image specification 1.1), as far as we have
 * to understand them. What we do not know is kept.
 *
 * @module
 */
import { z } from "zod";
import { layerTarType, parseDigest, type Descriptor } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";

export const mediaType = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  gzipLayer: `${layerTarType}+gzip`,
  zstdLayer: `${layerTarType}+zstd`,
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
} as const;

/** More layers than overlayfs stacks, and more platforms than there are. */
const descriptorsMax = 1024;

const annotations = z.record(z.string(), z.string());
const digest = z.string().refine((text) => parseDigest(text) !== undefined, "no digest");

const platform = z.looseObject({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().optional(),
});

const descriptor = z.looseObject({
  mediaType: z.string(),
  digest,
  size: z.int().nonnegative(),
  annotations: annotations.nullish(),
  urls: z.array(z.string()).nullish(),
  platform: platform.nullish(),
});

const index = z.looseObject({
  schemaVersion: z.literal(2),
  manifests: z.array(descriptor).max(descriptorsMax),
});

const manifest = z.looseObject({
  schemaVersion: z.literal(2),
  config: descriptor,
  layers: z.array(descriptor).max(descriptorsMax),
});

const config = z.looseObject({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().optional(),
  rootfs: z.looseObject({ type: z.literal("layers"), diff_ids: z.array(digest) }),
});

export type Platform = z.infer<typeof platform>;
/** As it stands in JSON, with its annotations and platform. */
export type OciDescriptor = z.infer<typeof descriptor>;
export type OciIndex = z.infer<typeof index>;
export type OciManifest = z.infer<typeof manifest>;
export type OciConfig = z.infer<typeof config>;

/** The part of a descriptor by which blobs are found. */
export function blobOf({ mediaType: type, digest: of, size }: OciDescriptor): Descriptor {
  return { mediaType: type, digest: of, sizeBytes: size };
}

export function parseIndex(bytes: Uint8Array, what: string): OciIndex {
  return parse(index, bytes, what);
}

export function parseConfig(bytes: Uint8Array, what: string): OciConfig {
  return parse(config, bytes, what);
}

/** An index or the manifest of one image, told apart by what they have, for types are missing. */
export function parseManifest(
  bytes: Uint8Array,
  what: string,
): { readonly index: OciIndex } | { readonly manifest: OciManifest } {
  const value = parse(z.looseObject({}), bytes, what);
  return "manifests" in value
    ? { index: parse(index, bytes, what) }
    : { manifest: parse(manifest, bytes, what) };
}

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new AppError("data_loss", `The ${what} is no JSON`, { cause });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problem = z.prettifyError(result.error).replaceAll(/\s+/g, " ");
  throw new AppError("data_loss", `The ${what} does not parse: ${problem}`);
}

export function encodeJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

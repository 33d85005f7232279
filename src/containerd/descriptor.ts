/**
 * Blobs as containerd describes them, and which of them are layers we can read.
 *
 * @module
 */

/** A blob of the content store (OCI image specification, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  /** `<algorithm>:<hexadecimal>`. */
  readonly digest: string;
  readonly sizeBytes: number;
}

/** The uncompressed tar of a layer, whose digest is the diff ID. */
export const layerTarType = "application/vnd.oci.image.layer.v1.tar";

/**
 * The types under which layers go. What they say of the compression is not looked at: images are
 * found with the wrong one, and containerd goes by the first bytes as well (core/diff/stream.go).
 */
const layerTypes: ReadonlySet<string> = new Set([
  layerTarType,
  "application/vnd.oci.image.layer.nondistributable.v1.tar",
  "application/vnd.docker.image.rootfs.diff.tar",
  "application/vnd.docker.image.rootfs.foreign.diff.tar",
]);

const compressionSuffix = /(?:\+gzip|\+zstd|\.gzip|\.zstd)$/;

/** Whether the type stands for a tar, compressed or not; encrypted layers are none. */
export function isLayerType(mediaType: string): boolean {
  return layerTypes.has(mediaType.replace(compressionSuffix, ""));
}

export interface Digest {
  readonly algorithm: "sha256" | "sha512";
  readonly hex: string;
}

const digestPattern = /^(?:(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128}))$/;

/** Undefined for anything but a digest of an algorithm the image specification registers. */
export function parseDigest(text: string): Digest | undefined {
  const match = digestPattern.exec(text);
  if (match === null) return undefined;
  const algorithm = match[1] === undefined ? "sha512" : "sha256";
  return { algorithm, hex: match[2] ?? match[4] ?? "" };
}

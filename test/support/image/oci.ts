/**
 * Images as a registry knows them: blobs, a configuration and a manifest (OCI image spec 1.0).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { Layer } from "./layer.ts";
import { writeTar } from "./tar.ts";

export type Digest = `sha256:${string}`;

export interface LayerBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** The digest of the uncompressed tar. */
  readonly diffId: Digest;
  read(): Promise<Uint8Array> | Uint8Array;
}

export interface Image {
  /** Repository and tag, such as `hard:1`. */
  readonly name: string;
  readonly layers: readonly LayerBlob[];
  readonly config: Uint8Array;
  readonly manifest: Uint8Array;
}

export const manifestType = "application/vnd.oci.image.manifest.v1+json";

export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A layer as a gzip blob in memory. */
export function packLayer(layer: Layer): LayerBlob {
  const tar = writeTar(layer);
  const blob = gzipSync(tar, { level: 1 });
  return {
    digest: sha256(blob),
    sizeBytes: blob.length,
    diffId: sha256(tar),
    read: () => blob,
  };
}

/** The CPU architecture of this machine, as Go names it. */
export function goArchitecture(): string {
  return process.arch === "x64" ? "amd64" : process.arch;
}

function encodeJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

export function makeImage(name: string, layers: readonly LayerBlob[]): Image {
  const config = encodeJson({
    architecture: goArchitecture(),
    os: "linux",
    config: { Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], Cmd: ["/bin/sh"], WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
  });
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: manifestType,
    config: {
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: sha256(config),
      size: config.length,
    },
    layers: layers.map(({ digest, sizeBytes }) => ({
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest,
      size: sizeBytes,
    })),
  });
  return { name, layers, config, manifest };
}

/**
 * The chain ID of the topmost layer: containerd's name of the committed snapshot.
 *
 * `ChainID(L1..Ln) = SHA256(ChainID(L1..Ln-1) + " " + DiffID(Ln))`, image spec, config.md.
 */
export function chainId(image: Image): Digest {
  const top = chainIds(image.layers.map(({ diffId }) => diffId)).at(-1);
  if (top === undefined) throw new Error(`image ${image.name} has no layers`);
  return top;
}

/** Of each layer with those below it, lowest first. */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}

/**
 * The manifest of the image a layer is of: from where it can be had fastest.
 *
 * containerd has stored it by the time it unpacks layers. Where its file cannot be opened, because
 * containerd has another root or another kind of store, it is asked, and then the registry.
 *
 * @module
 */
import { readFile, stat } from "node:fs/promises";
import { blobFile, type ContentStore } from "../containerd/content-store.ts";
import { parseDigest } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import { parseManifest, type OciManifest } from "../oci/schema.ts";
import type { RegistryClient } from "../registry/contract.ts";
import { manifestBytesMax } from "../registry/limits.ts";
import { parseReference } from "../registry/reference.ts";
import { verifyBytes } from "../registry/verify.ts";

export interface ManifestRequest {
  /** As the user named it. */
  readonly image: string;
  readonly manifestDigest: string;
  /** containerd's, in which the manifest is known. */
  readonly namespace: string | undefined;
}

export interface ManifestSources {
  readonly content: ContentStore;
  /** Made when it is first asked for. */
  readonly registries: () => RegistryClient;
}

/** Rejects with `data_loss` for anything but the manifest of one image with that digest. */
export async function readManifest(
  sources: ManifestSources,
  request: ManifestRequest,
  signal: AbortSignal,
): Promise<OciManifest> {
  const bytes =
    (await readStored(sources.content, request)) ??
    (await sources.registries().manifest(parseReference(request.image), request.manifestDigest, {
      signal,
    }));
  const parsed = parseManifest(bytes, `manifest ${request.manifestDigest}`);
  if ("manifest" in parsed) return parsed.manifest;
  throw new AppError("data_loss", `"${request.manifestDigest}" is an index, not a manifest`);
}

/** What containerd has, verified; undefined where it has nothing that will do. */
async function readStored(
  content: ContentStore,
  { manifestDigest, namespace }: ManifestRequest,
): Promise<Uint8Array | undefined> {
  const digest = parseDigest(manifestDigest);
  if (digest === undefined) {
    throw new AppError("invalid_argument", `"${manifestDigest}" is no digest`);
  }
  const ways = [
    () => readSmallFile(blobFile(content.containerdRoot, digest)),
    () => content.blobs.readBlob(manifestDigest, 0, 0, { namespace, lease: undefined }),
  ];
  for (const read of ways) {
    try {
      const bytes = await read();
      verifyBytes(bytes, manifestDigest);
      return bytes;
    } catch {
      // The next one is asked; of the last, the registry, the error is shown.
    }
  }
  return undefined;
}

async function readSmallFile(path: string): Promise<Uint8Array> {
  const { size } = await stat(path);
  if (size <= manifestBytesMax) return readFile(path);
  throw new AppError("resource_exhausted", `"${path}" has ${size} bytes`);
}

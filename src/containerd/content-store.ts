/** Where containerd keeps blobs as files, and how they are read where it does not. */
import { join } from "node:path";
import { AppError } from "../errors.ts";
import type { BlobNote, LayerBlob } from "../snapshot/contract.ts";
import type { BlobReader, CallScope } from "./contract.ts";
import { type Digest, parseDigest } from "./descriptor.ts";

/** The plugin's folder below containerd's root (plugins/content/local/store.go). */
const pluginFolder = "io.containerd.content.v1.content";

export interface ContentStore {
  readonly blobs: BlobReader;
  /** containerd's root folder. */
  readonly containerdRoot: string;
}

export function blobFile(containerdRoot: string, { algorithm, hex }: Digest): string {
  return join(containerdRoot, pluginFolder, "blobs", algorithm, hex);
}

/** Where blobs grow that are being downloaded. */
export function ingestFolder(containerdRoot: string): string {
  return join(containerdRoot, pluginFolder, "ingest");
}

/**
 * @param scope of the call the blob is read for; without one, the blob is read for its namespace
 * @throws AppError `invalid_argument` for a digest that is none
 */
export function openBlob(
  { blobs, containerdRoot }: ContentStore,
  { digest, sizeBytes, namespace }: BlobNote,
  scope: CallScope = { namespace, lease: undefined },
): LayerBlob {
  const parsed = parseDigest(digest);
  if (parsed === undefined) throw new AppError("invalid_argument", `"${digest}" is no digest`);
  return {
    digest,
    sizeBytes,
    namespace,
    file: blobFile(containerdRoot, parsed),
    read: (offsetBytes, lengthBytes) => blobs.readBlob(digest, offsetBytes, lengthBytes, scope),
  };
}

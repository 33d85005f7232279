/** Where containerd keeps blobs as files. */
import { join } from "node:path";
import type { Digest } from "./descriptor.ts";

/** The plugin's folder below containerd's root (plugins/content/local/store.go). */
const pluginFolder = "io.containerd.content.v1.content";

export function blobFile(containerdRoot: string, { algorithm, hex }: Digest): string {
  return join(containerdRoot, pluginFolder, "blobs", algorithm, hex);
}

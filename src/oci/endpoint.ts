/**
 * Names of images as a user writes them: `oci:PATH[:TAG]`, a path, or a registry reference.
 *
 * @module
 */
import { existsSync } from "node:fs";

export type Endpoint =
  | { readonly kind: "layout"; readonly path: string; readonly tag: string | undefined }
  | { readonly kind: "registry"; readonly reference: string };

const layoutScheme = "oci:";
/** As in OCI's grammar of reference names, without the separators a path has. */
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/**
 * What begins with a slash or dot, or is there as a file, is a path. `PATH` itself may have colons:
 * what is behind the last one is a tag, unless the whole is there as a file.
 */
export function parseEndpoint(text: string): Endpoint {
  if (text.startsWith(layoutScheme)) return layoutEndpoint(text.slice(layoutScheme.length));
  const isPath = /^\.{0,2}\//.test(text) || text === "." || text === ".." || existsSync(text);
  return isPath ? layoutEndpoint(text) : { kind: "registry", reference: text };
}

function layoutEndpoint(text: string): Endpoint {
  const colon = text.lastIndexOf(":");
  const tag = text.slice(colon + 1);
  if (colon <= 0 || !tagPattern.test(tag) || existsSync(text)) {
    return { kind: "layout", path: text, tag: undefined };
  }
  return { kind: "layout", path: text.slice(0, colon), tag };
}

/** Whether a layout of that name is a tar, where there is nothing yet to look at. */
export function isArchiveName(path: string): boolean {
  return path.endsWith(".tar");
}

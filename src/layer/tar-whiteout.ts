/**
 * Names by which a layer's tar says what of the layers below is gone (OCI image spec, layer.md,
 * "Whiteouts"), told apart as containerd does it.
 *
 * @module
 */
import { byteStringOfText, type ByteString } from "../util/byte-string.ts";
import type { FileTree } from "../erofs/file-tree.ts";
import type { InodeRef } from "../erofs/inode-table.ts";
import { pathError } from "./tar-path.ts";

const whiteoutPrefix = ".wh.";
const opaqueName = byteStringOfText(".wh..wh..opq");

export const opaqueXattr = {
  name: byteStringOfText("trusted.overlay.opaque"),
  value: Buffer.from("y"),
} as const;

export type Whiteout =
  /** What lower layers have in the directory is gone. */
  | { readonly kind: "opaque" }
  /** What lower layers have under the name is gone. */
  | { readonly kind: "name"; readonly name: ByteString };

/** Undefined for a name that is no whiteout; throws for one of nothing, `.` or `..`. */
export function parseWhiteout(name: ByteString): Whiteout | undefined {
  if (name === opaqueName) return { kind: "opaque" };
  if (!name.startsWith(whiteoutPrefix)) return undefined;
  const hidden = name.slice(whiteoutPrefix.length) as ByteString;
  if (hidden === "" || hidden === "." || hidden === "..") throw pathError("a whiteout of nothing");
  return { kind: "name", name: hidden };
}

/**
 * An opaque mark in a layer with none below, after the fact: takes away what no entry of the tar
 * itself put there, which can only be directories made for the sake of a path.
 *
 * @returns whether it took away anything
 */
export function dropImplicit(
  tree: FileTree,
  directory: InodeRef,
  implicit: ReadonlySet<InodeRef>,
): boolean {
  const pending = [directory];
  let hasDropped = false;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const name of tree.names.of(next)) {
      const inode = tree.names.inodeOf(name);
      if (!tree.inodes.isDirectory(inode)) continue;
      if (!implicit.has(inode)) pending.push(inode);
      else hasDropped = tree.unlink(next, tree.names.textOf(name));
    }
  }
  return hasDropped;
}

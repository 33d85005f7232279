/** The root directory of a layer, read from its image. */
import { isOfType, readInode } from "../erofs/read.ts";
import type { LayerBase } from "../snapshot/contract.ts";
import { openImageFile } from "../store/layer-files.ts";
import { assert } from "../util/assert.ts";

/** Reads some blocks of the image file at `path`; throws FormatError for a damaged one. */
export function rootOfImage(path: string): LayerBase["root"] {
  using file = openImageFile(path);
  const root = readInode(file.image, file.image.superblock.rootNid);
  assert(isOfType(root, "directory"), "the root of an image is a directory");
  const { mode, uid, gid } = root;
  return { mode, uid, gid };
}

/**
 * What the upper directory of an overlay hides of those below, in the words of an image layer
 * (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
 *
 * @module
 */
import { openFlag } from "../../../ffi/constants.ts";
import { readDirectory } from "../../../ffi/directory.ts";
import { close, open, openDirectoryAt } from "../../../ffi/file.ts";
import { statAt } from "../../../ffi/status.ts";
import { getXattr } from "../../../ffi/xattr.ts";
import { fileType } from "../../../src/erofs/tree.ts";
import { type ByteString, bytesOf } from "../../../src/util/byte-string.ts";
import { type LayerEntry, opaque, whiteout } from "../../../test/support/image/layer.ts";

const opaqueXattr = "trusted.overlay.opaque";

function isWhiteout(dirFd: number, name: ByteString, type: number): boolean {
  if (type !== fileType.characterDevice) return false;
  const { nodeMajor, nodeMinor } = statAt(dirFd, name);
  return nodeMajor === 0 && nodeMinor === 0;
}

function isOpaque(dirFd: number, name: ByteString): boolean {
  return getXattr(dirFd, name, opaqueXattr)?.[0] === "y".codePointAt(0);
}

function walk(dirFd: number, folder: string, found: LayerEntry[]): void {
  for (const { name, type } of readDirectory(dirFd)) {
    const path = `${folder}${name}` as ByteString;
    if (isWhiteout(dirFd, name, type)) found.push(whiteout(bytesOf(path)));
    if (type !== fileType.directory) continue;
    if (isOpaque(dirFd, name)) found.push(opaque(bytesOf(path)));
    const below = openDirectoryAt(dirFd, name);
    try {
      walk(below, `${path}/`, found);
    } finally {
      close(below);
    }
  }
}

/** All whiteouts and opaque directories below the folder, which nobody changes meanwhile. */
export function findWhiteouts(upper: string): LayerEntry[] {
  const found: LayerEntry[] = [];
  const root = open(upper, openFlag.readOnly | openFlag.directory);
  try {
    walk(root, "", found);
  } finally {
    close(root);
  }
  return found;
}

/**
 * What is cached of the images that use a pack.
 *
 * @module
 */
import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { openFlag } from "../../../ffi/constants.ts";
import { readDirectory } from "../../../ffi/directory.ts";
import { close, open, openDirectoryAt, openRegularAt } from "../../../ffi/file.ts";
import { cachedPages, dropPages } from "../../../ffi/page-cache.ts";
import { type MountEntry, parseMountInfo } from "../../mount/mountinfo.ts";
import { openImageFile } from "../../store/layer-files.ts";
import type { ByteString } from "../../util/byte-string.ts";

const directoryType = 0o040000;
const regularType = 0o100000;

/** Where images of this root that use the pack are mounted, as far as this process sees it. */
export function mountsOfPack(root: string, packId: number): string[] {
  const folder = `${realpathSync(root)}/`;
  return parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"))
    .filter(({ fileSystem, source }) => fileSystem === "erofs" && source.startsWith(folder))
    .filter((entry) => mayUse(entry, packId))
    .map((entry) => entry.mountPoint);
}

/** By the device table; an image that cannot be read may use any pack. */
function mayUse({ source }: MountEntry, packId: number): boolean {
  try {
    using opened = openImageFile(source);
    return opened.image.devices.some(({ tag }) => tag === `${packId}.pack`);
  } catch {
    return true;
  }
}

/**
 * Drops what is cached of the files below a mount point, without reading any of it.
 *
 * @returns how many pages are left, which are mapped or being read; 0 where nothing is mounted
 */
export function dropCachesOf(mountPoint: string): number {
  let root: number;
  try {
    root = open(mountPoint, openFlag.readOnly | openFlag.directory);
  } catch {
    return 0; // It was unmounted, and its cache went with it.
  }
  try {
    return dropBelow(root);
  } finally {
    close(root);
  }
}

function dropBelow(directory: number): number {
  let left = 0;
  for (const { name, type } of readDirectory(directory)) {
    if (type === directoryType) left += dropInDirectory(directory, name);
    else if (type === regularType) left += dropFile(directory, name);
  }
  return left;
}

function dropInDirectory(parent: number, name: ByteString): number {
  const directory = openDirectoryAt(parent, name);
  try {
    return dropBelow(directory);
  } finally {
    close(directory);
  }
}

function dropFile(directory: number, name: ByteString): number {
  const file = openRegularAt(directory, name);
  if (file === undefined) return 0;
  try {
    if (cachedPages(file.fd) === 0) return 0;
    dropPages(file.fd);
    return cachedPages(file.fd);
  } finally {
    close(file.fd);
  }
}

/** Drops all of the page cache of the machine that is neither mapped nor dirty. */
export function dropAllCaches(): void {
  writeFileSync("/proc/sys/vm/drop_caches", "1");
}

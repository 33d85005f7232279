/**
 * The EROFS reader, for `check`, `files` and tests. It trusts nothing it reads: every length is
 * checked, what does not parse is a FormatError, and no image makes it run without end.
 *
 * @module
 */
export type { ReadImage } from "./image-bytes.ts";
export { type ErofsImage, openImage } from "./open-image.ts";
export { PackedContent, type PackedExtent } from "./packed-content.ts";
export { type Extent, extentsOf, readOwnContent, symlinkTarget } from "./read-content.ts";
export { directoryEntries, type DirectoryEntry } from "./read-directory.ts";
export { type ImageInode, isOfType, readInode } from "./read-inode.ts";
export { readXattrs } from "./read-xattrs.ts";
export { walkImage, type WalkedEntry } from "./walk.ts";

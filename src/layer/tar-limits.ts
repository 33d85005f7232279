/**
 * What a layer's tar may ask for. A tar is small when it comes over the wire, so what it makes us
 * keep in memory is bounded here; what it makes us write, by the disk.
 *
 * @module
 */
import { KiB, MiB } from "../util/bytes.ts";

/** Entries of one tar, replaced ones included; a million in one directory is real. */
export const entriesMax = 4 * 2 ** 20;
/** Names, link targets, extended attributes and small content, which the tree keeps. */
export const metadataBytesMax = 512 * MiB;
/**
 * Directories that no entry describes, each counted as often as it is deep: so long is the path by
 * which it is looked for in the layers below. A path of 4 KiB may need two thousand of them, and
 * what consists of such paths compresses well. Half a million are real, eight deep.
 */
export const implicitDepthsMax = 2 ** 22;
/** Chunks of all files together, holes included: 64 MiB of memory, 64 TiB of 4 MiB chunks. */
export const chunksPerLayerMax = 2 ** 24;
/** PATH_MAX without its NUL (include/uapi/linux/limits.h): no longer path can be opened. */
export const pathBytesMax = 4095;
/** As containerd's RootPath, and Linux has 40. */
export const linksPerPathMax = 255;
/** Steps that all symlinks of a layer may cost: a few seconds, where chains of them would hang. */
export const linkStepsMax = 2 ** 25;
/** Extended attributes of one file; EROFS holds no more (h_shared_count and i_xattr_icount). */
export const xattrListBytesMax = 256 * KiB;

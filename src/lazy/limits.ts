/**
 * What a table of contents may ask for. It comes from a registry, is small on the wire and is kept
 * in memory, so everything in it is bounded here; what the tree made of it costs, by tar-limits.ts.
 *
 * @module
 */
import { GiB, MiB } from "../util/bytes.ts";

/**
 * Of a table, compressed and not. It is parsed as a whole; podman refuses more than 150 MiB. A
 * million files take about 250 MiB.
 */
export const tocBytesMax = 256 * MiB;
/** Files and chunks together; as many as a tar may have (tar-limits.ts). */
export const tocEntriesMax = 4 * 2 ** 20;
/** PATH_MAX without its NUL (include/uapi/linux/limits.h), which bounds the depth as well. */
export const tocPathBytesMax = 4095;
/**
 * Of one chunk: it is verified as a whole. What podman wrote before it cut files at all has files
 * of any size as one chunk; those beyond are pulled as ordinary layers.
 */
export const lazyChunkBytesMax = GiB;
/** The largest gap that a chunk inside of a shared gzip member may have before it. */
export const innerOffsetBytesMax = GiB;

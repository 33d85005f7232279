/**
 * What a table of contents may ask for. It comes from a registry, is small on the wire and is kept
 * in memory, so everything in it is bounded here; what the tree made of it costs, by tar-limits.ts.
 *
 * @module
 */
import { GiB, MiB } from "../util/bytes.ts";

/**
 * Of a table, compressed and not. It is kept as a whole while its layer is made; podman refuses
 * more than 150 MiB. A file of one chunk takes some 200 bytes. A layer with a larger table is
 * pulled as a whole.
 */
export const tocBytesMax = 96 * MiB;
/** Files and chunks together: as objects they take a multiple of the table's bytes. */
export const tocEntriesMax = 500_000;
/**
 * Of one entry, and of all that is no entry: a byte may become an object. The longest that is right
 * has two paths and the attributes of a file (tar-limits.ts), in base64.
 */
export const tocEntryBytesMax = MiB;
/** PATH_MAX without its NUL (include/uapi/linux/limits.h), which bounds the depth as well. */
export const tocPathBytesMax = 4095;
/**
 * Of one chunk: it is verified as a whole. What podman wrote before it cut files at all has files
 * of any size as one chunk; those beyond are pulled as ordinary layers.
 */
export const lazyChunkBytesMax = GiB;
/** The largest gap that a chunk inside of a shared gzip member may have before it. */
export const innerOffsetBytesMax = GiB;

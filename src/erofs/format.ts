/**
 * The EROFS on-disk format, as far as this project writes and reads it: sizes, bits, offsets.
 *
 * Mirrors `fs/erofs/erofs_fs.h` of Linux (stable since 5.4; chunks 5.15, devices 5.16). Numbers are
 * little-endian. Nothing here may ever change: images outlive the program that wrote them, and the
 * kernel reads them. New abilities come as new feature bits only.
 *
 * Vocabulary: a *block* is 4096 bytes; a *slot* is 32 bytes of the metadata area; the *nid* of an
 * inode is the number of its first slot; a *unified* address counts blocks through the primary
 * image and all devices, each of which begins at its `uniaddr`.
 *
 * @module
 */
import { fieldOffsets } from "../util/field-offsets.ts";

export const blockSizeBits = 12;
export const blockSizeBytes = 1 << blockSizeBits;
export const slotSizeBytes = 32;

export const superblockOffset = 1024;
export const superblockSizeBytes = 128;
export const superblockMagic = 0xe0f5e1e2;
export const deviceSlotSizeBytes = 128;

/** All ones: the address of a hole, and so never the address of a block. */
export const holeAddress = 0xffffffff;

/** Features an old kernel may ignore. */
export const compatFeature = {
  superblockChecksum: 0x1,
  /** Times are modification times, not change times. */
  mtime: 0x2,
  /** Xattr bodies carry a filter of names (Linux 6.6). */
  xattrFilter: 0x4,
} as const;

/** Features without which an image must not be mounted. */
export const incompatFeature = {
  /** Compressed bytes are right-aligned in their blocks (Linux 5.3). */
  zeroPadding: 0x1,
  /** The superblock is followed by a configuration for each algorithm (Linux 5.11). */
  compressionConfigs: 0x2,
  chunkedFile: 0x4,
  deviceTable: 0x8,
  /** Files that are a range of the packed inode (Linux 6.1). */
  fragments: 0x20,
} as const;

export const superblockField = fieldOffsets("erofs_super_block", superblockSizeBytes, [
  ["magic", 4],
  ["checksum", 4],
  ["featureCompat", 4],
  ["blockSizeBits", 1],
  ["extensionSlots", 1],
  ["rootNid", 2],
  ["inodeCount", 8],
  ["epochSeconds", 8],
  ["epochNanoseconds", 4],
  ["blocks", 4],
  ["metaBlock", 4],
  ["xattrBlock", 4],
  ["uuid", 16],
  ["volumeName", 16],
  ["featureIncompat", 4],
  ["compressionAlgorithms", 2],
  ["extraDevices", 2],
  ["deviceTableSlot", 2],
  ["directoryBlockBits", 1],
  ["xattrPrefixCount", 1],
  ["xattrPrefixStart", 4],
  ["packedNid", 8],
  ["xattrFilterReserved", 1],
  ["reserved", 23],
]);

export const deviceSlotField = fieldOffsets("erofs_deviceslot", deviceSlotSizeBytes, [
  ["tag", 64],
  ["blocks", 4],
  ["uniaddr", 4],
  ["reserved", 56],
]);

export const compactInodeSizeBytes = 32;
export const extendedInodeSizeBytes = 64;

export const compactInodeField = fieldOffsets("erofs_inode_compact", compactInodeSizeBytes, [
  ["format", 2],
  ["xattrCount", 2],
  ["mode", 2],
  ["linkCount", 2],
  ["sizeBytes", 4],
  ["reserved", 4],
  ["union", 4],
  ["inodeNumber", 4],
  ["uid", 2],
  ["gid", 2],
  ["reserved2", 4],
]);

export const extendedInodeField = fieldOffsets("erofs_inode_extended", extendedInodeSizeBytes, [
  ["format", 2],
  ["xattrCount", 2],
  ["mode", 2],
  ["reserved", 2],
  ["sizeBytes", 8],
  ["union", 4],
  ["inodeNumber", 4],
  ["uid", 4],
  ["gid", 4],
  ["mtimeSeconds", 8],
  ["mtimeNanoseconds", 4],
  ["linkCount", 4],
  ["reserved2", 16],
]);

/** Bit 0 of `i_format` tells compact from extended, bits 1 to 3 the data layout. */
export const inodeFormat = { extended: 0x1, layoutShift: 1, all: 0xf } as const;

export const dataLayout = {
  /** Whole blocks from one address on. */
  flatPlain: 0,
  /** Compressed, 8-byte indexes. */
  compressedFull: 1,
  /** Whole blocks from one address on, and the rest right behind the inode. */
  flatInline: 2,
  /** Compressed, compact indexes. */
  compressedCompact: 3,
  /** An address for each chunk, behind the inode. */
  chunkBased: 4,
} as const;

export type DataLayout = (typeof dataLayout)[keyof typeof dataLayout];

/** `z_erofs_map_header`, 8 bytes, at the next multiple of 8 behind a compressed inode. */
export const mapHeaderSizeBytes = 8;
export const mapAlignmentBytes = 8;
/** Reserved, between header and full index. */
export const mapGapSizeBytes = 8;
export const mapHeaderField = fieldOffsets("z_erofs_map_header", mapHeaderSizeBytes, [
  ["fragmentOffset", 4],
  ["advise", 2],
  ["algorithms", 1],
  ["clusterBits", 1],
]);
export const mapAdvise = {
  /** Most entries of a compact index have 2 bytes, not 4. */
  compacted2Bytes: 0x1,
  /** Extents of the first algorithm may have several blocks. */
  bigCluster: 0x2,
  /** The same for the second one; in a compact index both or none. */
  bigCluster2: 0x4,
  /** The last extent is a range of the packed inode. */
  fragment: 0x20,
} as const;
/** In the highest byte of the header: the rest of it is an offset in the packed inode. */
export const wholeFragmentBit = 0x80;

/** `z_erofs_lcluster_index`: one for each block of content, 8 bytes behind the header. */
export const clusterIndexSizeBytes = 8;
export const clusterIndexField = fieldOffsets("z_erofs_lcluster_index", clusterIndexSizeBytes, [
  ["type", 2],
  ["offset", 2],
  ["address", 4],
]);
export const clusterType = {
  /** A raw block. */
  plain: 0,
  /** The first block of an extent; its address is there. */
  head: 1,
  /** A further block of an extent: distances to its head and to the next one. */
  rest: 2,
} as const;
/** In the first distance of the first `rest` of an extent: it is the number of stored blocks. */
export const storedBlocksFlag = 0x800;
/** All bits of a compact index that is ours. */
export const compactAdvise =
  mapAdvise.compacted2Bytes | mapAdvise.bigCluster | mapAdvise.bigCluster2;

/** Each configuration is 2 bytes of length and 6 bytes of content. */
export const compressionConfigSizeBytes = 8;

/**
 * Chunk format in `i_u`: log2 of the blocks of a chunk; with no other bit, 4-byte addresses; with
 * `indexes`, 8 bytes that name the device.
 */
export const chunkFormat = { blockBitsMask: 0x1f, indexes: 0x20 } as const;
export const blockMapEntrySizeBytes = 4;

/** Aligned to its size. `device` counts from 1; 0 means a unified address. */
export const chunkIndexSizeBytes = 8;
export const chunkIndexField = fieldOffsets("erofs_inode_chunk_index", chunkIndexSizeBytes, [
  ["blockHigh", 2],
  ["device", 2],
  ["block", 4],
]);

export const direntSizeBytes = 12;
export const direntField = fieldOffsets("erofs_dirent", direntSizeBytes, [
  ["nid", 8],
  ["nameOffset", 2],
  ["fileType", 1],
  ["reserved", 1],
]);
export const nameBytesMax = 255;
/** PATH_MAX of include/uapi/linux/limits.h, which counts the NUL. */
export const symlinkBytesMax = 4095;
export const nanosecondsMax = 999_999_999;

export const xattrHeaderSizeBytes = 12;
export const xattrHeaderField = fieldOffsets("erofs_xattr_ibody_header", xattrHeaderSizeBytes, [
  ["nameFilter", 4],
  ["sharedCount", 1],
  ["reserved", 7],
]);
export const xattrEntrySizeBytes = 4;
export const xattrEntryField = fieldOffsets("erofs_xattr_entry", xattrEntrySizeBytes, [
  ["nameLength", 1],
  ["nameIndex", 1],
  ["valueSizeBytes", 2],
]);
/** Inline xattrs are counted in, and shared ones addressed by, units of this size. */
export const xattrUnitBytes = 4;

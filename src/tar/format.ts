/**
 * The layout of tar headers, the signs of each dialect, and the limits of this reader.
 *
 * Sources: POSIX.1-2017 pax ("ustar Interchange Format", "pax Header Block"), the GNU tar manual
 * ("Basic Tar Format", "GNU Extensions to the Archive Format", "Sparse Formats"), star(4).
 *
 * ```
 * archive = { header, content padded to 512 bytes }, zero block, zero block
 * ```
 *
 * All dialects share the first 257 bytes. A magic number follows, which tells what the rest means.
 *
 * @module
 */
import { fieldOffsets, type FieldTable } from "../util/field-offsets.ts";
import { MiB } from "../util/bytes.ts";

export const blockBytes = 512;

const commonFields = [
  ["name", 100],
  ["mode", 8],
  ["uid", 8],
  ["gid", 8],
  ["size", 12],
  ["mtime", 12],
  ["checksum", 8],
  ["typeFlag", 1],
  ["linkName", 100],
  ["magic", 6],
  ["version", 2],
  ["userName", 32],
  ["groupName", 32],
  ["deviceMajor", 8],
  ["deviceMinor", 8],
] as const satisfies FieldTable;

/** Fields of ustar; those before `magic` are all that v7 has. */
export const ustarField = fieldOffsets("ustar header", blockBytes, [
  ...commonFields,
  ["prefix", 155],
  ["unused", 12],
]);

export const gnuField = fieldOffsets("GNU header", blockBytes, [
  ...commonFields,
  ["accessTime", 12],
  ["changeTime", 12],
  ["multiVolumeOffset", 12],
  ["longNames", 4],
  ["unused", 1],
  ["sparse", 96],
  ["isExtended", 1],
  ["realSize", 12],
  ["unusedEnd", 17],
]);

export const starField = fieldOffsets("star header", blockBytes, [
  ...commonFields,
  ["prefix", 131],
  ["accessTime", 12],
  ["changeTime", 12],
  ["unused", 8],
  ["trailer", 4],
]);

export const nameFieldBytes = 100;
export const ustarPrefixBytes = 155;
export const starPrefixBytes = 131;
/** Width of uid, gid, mode, checksum and device numbers. */
export const shortNumberBytes = 8;
/** Width of size and times, and of both numbers of a sparse entry. */
export const longNumberBytes = 12;

/** Entries of the sparse map in a GNU header, and in each block that continues it. */
export const sparseEntriesInHeader = 4;
export const sparseEntriesInBlock = 21;
export const sparseEntryBytes = 2 * longNumberBytes;

export const ustarMagic = "ustar\0";
/** With the version, which GNU tar fills with a space and NUL. */
export const gnuMagic = "ustar  \0";
export const starTrailer = "tar\0";

export const typeFlag = {
  /** v7: a regular file, or a directory if the name ends with a slash. */
  old: "\0",
  regular: "0",
  hardLink: "1",
  symlink: "2",
  characterDevice: "3",
  blockDevice: "4",
  directory: "5",
  fifo: "6",
  paxLocal: "x",
  paxGlobal: "g",
  gnuLongName: "L",
  gnuLongLink: "K",
  gnuSparse: "S",
} as const;

/** PAX records and GNU long names of one entry; the limit of Go's reader and of libarchive. */
export const specialBytesMax = MiB;
/** Headers that only say something about the next one; GNU tar writes three, Go two. */
export const metaHeadersMax = 16;
/** All global records together: they stay in memory to the end of the archive. */
export const globalBytesMax = 4 * MiB;
/** 16 MiB of memory. GNU tar writes an entry for each data run of at least a file system block. */
export const sparseEntriesMax = 2 ** 20;
/** A decimal number and a line end, of a sparse map 1.0: 2^63 has 19 digits. */
export const sparseNumberBytesMax = 20;

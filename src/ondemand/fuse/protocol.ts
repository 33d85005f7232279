/**
 * The FUSE protocol, version 7: include/uapi/linux/fuse.h. What a read-only file system of one
 * directory needs of it.
 *
 * @module
 */
import { struct } from "../../../ffi/struct.ts";

/** The version whose structures these are; the kernel speaks it to whoever answers with it. */
export const protocolVersion = { major: 7, minor: 40 } as const;

/** `enum fuse_opcode`. */
export const opcode = {
  lookup: 1,
  forget: 2,
  getAttributes: 3,
  open: 14,
  read: 15,
  statFs: 17,
  release: 18,
  init: 26,
  openDirectory: 27,
  readDirectory: 28,
  releaseDirectory: 29,
  interrupt: 36,
  destroy: 38,
  notifyReply: 41,
  batchForget: 42,
} as const;

/** Flags of FUSE_INIT; those of `flags2` are 32 bits higher in the header. */
export const initFlag = {
  asyncRead: 1 << 0,
  asyncDirectIo: 1 << 15,
  parallelDirectoryOperations: 1 << 18,
  maxPages: 1 << 22,
  extended: 1 << 30,
} as const;
export const initFlag2 = { hasResend: 1 << 7 } as const;

/** Flags of a reply to FUSE_OPEN. */
export const openReplyFlag = { directIo: 1 << 0, keepCache: 1 << 1, noFlush: 1 << 5 } as const;

/** `enum fuse_notify_code`. */
export const notifyCode = { invalidateInode: 2, invalidateEntry: 3, resend: 7 } as const;

/** FUSE_ROOT_ID. */
export const rootNode = 1;

/** A request for interruption has the identity of what it interrupts, and this bit (dev.c). */
export const interruptBit = 1n;

/** Before every request. */
export const inHeader = struct(40, [
  ["lengthBytes", "u32"],
  ["opcode", "u32"],
  ["unique", "u64"],
  ["node", "u64"],
  ["uid", "u32"],
  ["gid", "u32"],
  ["pid", "u32"],
  ["extensionUnits", "u16"],
  ["padding", "bytes2"],
]);

/** Before every reply. */
export const outHeader = struct(16, [
  ["lengthBytes", "u32"],
  ["error", "s32"],
  ["unique", "u64"],
]);

export const initIn = struct(64, [
  ["major", "u32"],
  ["minor", "u32"],
  ["readaheadBytesMax", "u32"],
  ["flags", "u32"],
  ["flags2", "u32"],
  ["unused", "bytes44"],
]);

export const initOut = struct(64, [
  ["major", "u32"],
  ["minor", "u32"],
  ["readaheadBytesMax", "u32"],
  ["flags", "u32"],
  ["backgroundMax", "u16"],
  ["congestionThreshold", "u16"],
  ["writeBytesMax", "u32"],
  ["timeGranularityNs", "u32"],
  ["pagesMax", "u16"],
  ["mapAlignment", "u16"],
  ["flags2", "u32"],
  ["stackDepthMax", "u32"],
  ["unused", "bytes24"],
]);

const attributeFields = [
  ["inode", "u64"],
  ["sizeBytes", "u64"],
  ["blocks512", "u64"],
  ["times", "bytes36"],
  ["mode", "u32"],
  ["links", "u32"],
  ["uid", "u32"],
  ["gid", "u32"],
  ["device", "u32"],
  ["blockBytes", "u32"],
  ["attributeFlags", "u32"],
] as const;

export const entryOut = struct(128, [
  ["node", "u64"],
  ["generation", "u64"],
  ["entrySeconds", "u64"],
  ["attributeSeconds", "u64"],
  ["entryNanoseconds", "u32"],
  ["attributeNanoseconds", "u32"],
  ...attributeFields,
]);

export const attributesOut = struct(104, [
  ["attributeSeconds", "u64"],
  ["attributeNanoseconds", "u32"],
  ["padding", "u32"],
  ...attributeFields,
]);

export const openOut = struct(16, [
  ["handle", "u64"],
  ["flags", "u32"],
  ["backing", "s32"],
]);

/** Of FUSE_READ and FUSE_READDIR. */
export const readIn = struct(40, [
  ["handle", "u64"],
  ["offset", "u64"],
  ["sizeBytes", "u32"],
  ["readFlags", "u32"],
  ["lockOwner", "u64"],
  ["flags", "u32"],
  ["padding", "bytes4"],
]);

export const interruptIn = struct(8, [["unique", "u64"]]);

export const statFsOut = struct(80, [
  ["blocks", "u64"],
  ["freeBlocks", "u64"],
  ["availableBlocks", "u64"],
  ["files", "u64"],
  ["freeFiles", "u64"],
  ["blockBytes", "u32"],
  ["nameBytesMax", "u32"],
  ["fragmentBytes", "u32"],
  ["padding", "bytes28"],
]);

/** The name follows, and zeros up to a multiple of 8 bytes. */
export const directoryEntryHead = struct(24, [
  ["inode", "u64"],
  ["nextOffset", "u64"],
  ["nameBytes", "u32"],
  ["type", "u32"],
]);

export const invalidateEntryOut = struct(16, [
  ["parent", "u64"],
  ["nameBytes", "u32"],
  ["flags", "u32"],
]);

export const invalidateInodeOut = struct(24, [
  ["node", "u64"],
  ["offset", "s64"],
  ["lengthBytes", "s64"],
]);

/**
 * Superblock and device table: what the kernel reads first.
 *
 * The superblock lies at byte 1024 of block 0, the device table right behind it; its slots may go
 * on through further blocks. The checksum covers byte 1024 to the end of block 0.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { crc32c } from "../util/crc32c.ts";
import {
  type CompressionAlgorithm,
  compressionAlgorithm,
  extentBytesMaxLog2,
} from "./compression.ts";
import {
  blockSizeBits,
  blockSizeBytes,
  compatFeature,
  compressionConfigSizeBytes,
  deviceSlotField,
  deviceSlotSizeBytes,
  incompatFeature,
  superblockField as field,
  superblockMagic,
  superblockOffset,
  superblockSizeBytes,
} from "./format.ts";

export interface Superblock {
  readonly featureCompat: number;
  readonly featureIncompat: number;
  readonly rootNid: number;
  readonly inodeCount: number;
  /** The time of all compact inodes. */
  readonly epochSeconds: number;
  readonly epochNanoseconds: number;
  /** Blocks of the primary image. */
  readonly blocks: number;
  readonly metaBlock: number;
  readonly xattrBlock: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  readonly deviceCount: number;
  /** Where the device table begins. */
  readonly deviceTableOffset: number;
  /** None: nothing is compressed. */
  readonly algorithm: CompressionAlgorithm | undefined;
  /** The inode whose content fragments are ranges of; 0: none. */
  readonly packedNid: number;
}

export interface Device {
  /** At most 64 bytes of ASCII; a mark for people, the kernel does not read it. */
  readonly tag: string;
  readonly blocks: number;
  /** Unified address of the device's first block. */
  readonly uniaddr: number;
}

export const deviceTagBytesMax = 64;
const deflateWindowBits = 15;
/** ZSTD_WINDOWLOG_ABSOLUTEMIN: the configuration counts from here. */
const zstdWindowLogMin = 10;
const superblockEnd = superblockOffset + superblockSizeBytes;

/** Where the writer puts the device table: the configuration of an algorithm lies before it. */
export function deviceTableOffsetOf(algorithm: CompressionAlgorithm | undefined): number {
  return algorithm === undefined ? superblockEnd : superblockEnd + deviceSlotSizeBytes;
}

/** Writes the superblock into a zeroed block 0, all but the checksum. */
export function writeSuperblock(block: Uint8Array, superblock: Superblock): void {
  const view = viewOf(block, superblockOffset);
  view.setUint32(field.magic, superblockMagic, true);
  view.setUint32(field.featureCompat, superblock.featureCompat, true);
  view.setUint8(field.blockSizeBits, blockSizeBits);
  view.setUint16(field.rootNid, superblock.rootNid, true);
  view.setBigUint64(field.inodeCount, BigInt(superblock.inodeCount), true);
  view.setBigInt64(field.epochSeconds, BigInt(superblock.epochSeconds), true);
  view.setUint32(field.epochNanoseconds, superblock.epochNanoseconds, true);
  view.setUint32(field.blocks, superblock.blocks, true);
  view.setUint32(field.metaBlock, superblock.metaBlock, true);
  view.setUint32(field.xattrBlock, superblock.xattrBlock, true);
  block.set(superblock.uuid, superblockOffset + field.uuid);
  view.setUint32(field.featureIncompat, superblock.featureIncompat, true);
  view.setUint16(field.extraDevices, superblock.deviceCount, true);
  view.setUint16(field.compressionAlgorithms, algorithmBits(superblock.algorithm), true);
  view.setBigUint64(field.packedNid, BigInt(superblock.packedNid), true);
  if (superblock.algorithm !== undefined) {
    writeCompressionConfig(viewOf(block, superblockEnd), superblock.algorithm);
  }
  const tableSlot = superblock.deviceTableOffset / deviceSlotSizeBytes;
  view.setUint16(field.deviceTableSlot, superblock.deviceCount === 0 ? 0 : tableSlot, true);
}

function algorithmBits(algorithm: CompressionAlgorithm | undefined): number {
  return algorithm === undefined ? 0 : 1 << algorithm;
}

/** `z_erofs_deflate_cfgs` or `z_erofs_zstd_cfgs`; both tell how far back a decoder must see. */
function writeCompressionConfig(view: DataView, algorithm: CompressionAlgorithm): void {
  view.setUint16(0, compressionConfigSizeBytes - 2, true);
  if (algorithm === compressionAlgorithm.deflate) view.setUint8(2, deflateWindowBits);
  else view.setUint8(3, extentBytesMaxLog2 - zstdWindowLogMin);
}

/** Gives block 0 its UUID and then its checksum; everything else in it must be there. */
export function sealSuperblock(block: Uint8Array, uuid: Uint8Array): void {
  block.set(uuid, superblockOffset + field.uuid);
  viewOf(block, superblockOffset).setUint32(field.checksum, checksumOf(block), true);
}

/**
 * Makes block 0 of another program's image tell of its content only: no time of making, the UUID
 * that is given. For images whose inodes all have times of their own (extended inodes).
 */
export function restampSuperblock(block: Uint8Array, uuid: Uint8Array): void {
  const view = viewOf(block, superblockOffset);
  view.setBigInt64(field.epochSeconds, 0n, true);
  view.setUint32(field.epochNanoseconds, 0, true);
  sealSuperblock(block, uuid);
}

/** `offset` is that of the slot in `bytes`. */
export function writeDeviceSlot(bytes: Uint8Array, offset: number, device: Device): void {
  const view = viewOf(bytes, offset);
  bytes.set(Buffer.from(device.tag, "latin1"), offset + deviceSlotField.tag);
  view.setUint32(deviceSlotField.blocks, device.blocks, true);
  view.setUint32(deviceSlotField.uniaddr, device.uniaddr, true);
}

const knownFeatures = Object.values(incompatFeature).reduce((all, feature) => all | feature, 0);

/** Throws FormatError for what is not an EROFS image that this program understands. */
export function readSuperblock(block: Uint8Array): Superblock {
  if (block.length < blockSizeBytes) throw malformed("the image ends within block 0");
  const view = viewOf(block, superblockOffset);
  if (view.getUint32(field.magic, true) !== superblockMagic) throw malformed("no EROFS magic");
  const featureCompat = view.getUint32(field.featureCompat, true);
  const featureIncompat = view.getUint32(field.featureIncompat, true);
  const blockBits = view.getUint8(field.blockSizeBits);
  if (blockBits !== blockSizeBits) throw malformed(`block size of 2^${blockBits} bytes`);
  if (featureCompat & compatFeature.superblockChecksum) {
    const expected = view.getUint32(field.checksum, true);
    if (checksumOf(block) !== expected) throw malformed("the checksum does not match");
  }
  const unknown = featureIncompat & ~knownFeatures;
  if (unknown !== 0) throw malformed(`unknown incompatible features 0x${unknown.toString(16)}`);
  if (view.getUint8(field.directoryBlockBits) !== 0) throw malformed("unknown directory blocks");
  const hasDevices = (featureIncompat & incompatFeature.deviceTable) !== 0;
  return {
    featureCompat,
    featureIncompat,
    rootNid: view.getUint16(field.rootNid, true),
    inodeCount: safeNumber(view.getBigUint64(field.inodeCount, true), "inode count"),
    epochSeconds: safeNumber(view.getBigInt64(field.epochSeconds, true), "epoch"),
    epochNanoseconds: view.getUint32(field.epochNanoseconds, true),
    blocks: view.getUint32(field.blocks, true),
    metaBlock: view.getUint32(field.metaBlock, true),
    xattrBlock: view.getUint32(field.xattrBlock, true),
    uuid: new Uint8Array(
      block.subarray(superblockOffset + field.uuid, superblockOffset + field.volumeName),
    ),
    deviceCount: hasDevices ? view.getUint16(field.extraDevices, true) : 0,
    deviceTableOffset: view.getUint16(field.deviceTableSlot, true) * deviceSlotSizeBytes,
    algorithm: readAlgorithm(view, featureIncompat),
    packedNid:
      (featureIncompat & incompatFeature.fragments) === 0
        ? 0
        : safeNumber(view.getBigUint64(field.packedNid, true), "packed nid"),
  };
}

/** The one algorithm of the image. The field has another meaning without the feature. */
function readAlgorithm(view: DataView, features: number): CompressionAlgorithm | undefined {
  if ((features & incompatFeature.compressionConfigs) === 0) return undefined;
  const bits = view.getUint16(field.compressionAlgorithms, true);
  const known = Object.values(compressionAlgorithm).find((each) => bits === algorithmBits(each));
  if (known === undefined) throw malformed(`compression algorithms 0x${bits.toString(16)}`);
  return known;
}

export function readDeviceSlot(bytes: Uint8Array): Device {
  const view = viewOf(bytes, 0);
  const tag = Buffer.from(bytes.subarray(0, deviceTagBytesMax)).toString("latin1");
  return {
    tag: tag.replace(/\0.*$/s, ""),
    blocks: view.getUint32(deviceSlotField.blocks, true),
    uniaddr: view.getUint32(deviceSlotField.uniaddr, true),
  };
}

function checksumOf(block: Uint8Array): number {
  // Not `slice`, which for a Buffer is a view.
  const covered = new Uint8Array(block.subarray(superblockOffset, blockSizeBytes));
  covered.fill(0, field.checksum, field.checksum + 4);
  return crc32c(0xffffffff, covered);
}

function viewOf(bytes: Uint8Array, offset: number): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset + offset, bytes.byteLength - offset);
}

function safeNumber(value: bigint, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw malformed(`${what} of ${value}`);
  return number;
}

function malformed(problem: string): FormatError {
  return new FormatError("EROFS superblock", superblockOffset, problem);
}

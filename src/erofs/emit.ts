/**
 * Writing a planned image, front to back, block 0 last.
 *
 * Block 0 comes last because its UUID is the digest of all the rest: equal trees at equal addresses
 * give equal images, bit for bit. It also means that an image cut short by a crash has no
 * superblock and cannot be mounted.
 *
 * @module
 */
import { noteRows } from "../util/garbage.ts";
import { emitBehind, emitDataBlocks, emitPackedMap } from "./emit-content.ts";
import {
  blockSizeBytes,
  compatFeature,
  dataLayout,
  deviceSlotSizeBytes,
  extendedInodeSizeBytes,
  incompatFeature,
  slotSizeBytes,
  xattrHeaderSizeBytes,
  xattrUnitBytes,
} from "./format.ts";
import { type ImageSink, ImageStream } from "./image-stream.ts";
import { type InodeRecord, inodeSizeBytes, writeInodeRecord } from "./inode-record.ts";
import type { PackedPlan } from "./packed-plan.ts";
import { type ImagePlan, layoutOf } from "./plan.ts";
import {
  deviceTableOffsetOf,
  sealSuperblock,
  type Superblock,
  writeDeviceSlot,
  writeSuperblock,
} from "./superblock.ts";
import { fileType } from "./tree.ts";

export interface EmittedImage {
  readonly sizeBytes: number;
  /** 16 bytes; a function of all other bytes of the image. */
  readonly uuid: Uint8Array;
}

/** Gives each byte of the image to the sink exactly once, at rising offsets, then block 0. */
export function emitImage(plan: ImagePlan, sink: ImageSink): EmittedImage {
  const hash = new Bun.CryptoHasher("sha256");
  const head = encodeHead(plan);
  const stream = new ImageStream(sink, hash, blockSizeBytes);
  stream.write(head.subarray(blockSizeBytes));
  for (const entry of plan.xattrs.sharedEntries()) stream.write(entry);
  emitInodes(plan, stream);
  stream.padTo(plan.dataBlock * blockSizeBytes);
  emitDataBlocks(plan, stream);
  stream.padTo(plan.blocks * blockSizeBytes);
  stream.flush();

  const block = head.subarray(0, blockSizeBytes);
  const uuid = uuidOf(hash.update(block).digest());
  sealSuperblock(block, uuid);
  sink(0, block);
  return { sizeBytes: plan.blocks * blockSizeBytes, uuid };
}

/** Block 0, unsealed, and the blocks into which the device table goes on. */
function encodeHead(plan: ImagePlan): Buffer {
  const head = Buffer.alloc(plan.xattrBlock * blockSizeBytes);
  const deviceTableOffset = deviceTableOffsetOf(plan.algorithm);
  writeSuperblock(head, superblockOf(plan));
  for (const [slot, device] of plan.options.devices.entries()) {
    writeDeviceSlot(head, deviceTableOffset + slot * deviceSlotSizeBytes, device);
  }
  return head;
}

function superblockOf(plan: ImagePlan): Superblock {
  const deviceCount = plan.options.devices.length;
  return {
    featureCompat:
      compatFeature.superblockChecksum |
      compatFeature.mtime |
      (plan.xattrs.isEmpty ? 0 : compatFeature.xattrFilter),
    featureIncompat:
      (plan.usesChunkMaps ? incompatFeature.chunkedFile : 0) |
      (deviceCount > 0 ? incompatFeature.deviceTable : 0) |
      (plan.algorithm === undefined ? 0 : compressionFeatures) |
      (plan.packed === undefined ? 0 : incompatFeature.fragments),
    rootNid: plan.inodes.nids[0]!,
    inodeCount: plan.index.inodes.length,
    epochSeconds: plan.epoch.seconds,
    epochNanoseconds: plan.epoch.nanoseconds,
    blocks: plan.blocks,
    metaBlock: plan.metaBlock,
    xattrBlock: plan.xattrs.sharedBytes === 0 ? 0 : plan.xattrBlock,
    uuid: new Uint8Array(16),
    deviceCount,
    deviceTableOffset: deviceTableOffsetOf(plan.algorithm),
    algorithm: plan.algorithm,
    packedNid: plan.packed?.nid ?? 0,
  };
}

const compressionFeatures = incompatFeature.zeroPadding | incompatFeature.compressionConfigs;

/** Inodes go out in the order of their nids. */
function emitInodes(plan: ImagePlan, stream: ImageStream): void {
  const metaBytes = plan.metaBlock * blockSizeBytes;
  const order = byPlace(plan.inodes.nids);
  // One record for all inodes: a million of them would be a tenth of a gigabyte of garbage.
  const record = { ...emptyRecord };
  for (let place = 0; place < order.length; place++) {
    const number = order[place]!;
    const xattrs = plan.index.tree.inodes.xattrsOf(plan.index.inodes[number]!);
    stream.padTo(metaBytes + plan.inodes.nids[number]! * slotSizeBytes);
    fillRecord(record, plan, number);
    writeInodeRecord(stream.view, stream.claim(inodeSizeBytes(record.isExtended)), record);
    if (xattrs.length > 0) stream.write(plan.xattrs.encodeBody(xattrs));
    emitBehind(plan, stream, number);
    noteRows();
  }
  if (plan.packed !== undefined) emitPackedInode(plan, plan.packed, stream);
}

/** A file of root without a name or a time; the kernel asks that it is a regular one. */
function emitPackedInode(plan: ImagePlan, packed: PackedPlan, stream: ImageStream): void {
  stream.padTo(plan.metaBlock * blockSizeBytes + packed.nid * slotSizeBytes);
  writeInodeRecord(stream.view, stream.claim(extendedInodeSizeBytes), {
    ...emptyRecord,
    isExtended: true,
    layout: dataLayout.compressedFull,
    mode: fileType.regular,
    sizeBytes: packed.sizeBytes,
    union: packed.storedBlocks,
    linkCount: 1,
  });
  emitPackedMap(plan, packed, stream);
}

type FilledRecord = { -readonly [Field in keyof InodeRecord]: InodeRecord[Field] };

const emptyRecord: FilledRecord = {
  isExtended: false,
  layout: dataLayout.flatPlain,
  xattrCount: 0,
  mode: 0,
  sizeBytes: 0,
  union: 0,
  inodeNumber: 0,
  uid: 0,
  gid: 0,
  linkCount: 0,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
};

function fillRecord(record: FilledRecord, plan: ImagePlan, number: number): void {
  const { inodes, index } = plan;
  const inode = index.inodes[number]!;
  const table = index.tree.inodes;
  const ownBlock = inodes.dataBlocks[number]! > 0 ? plan.dataBlock : 0;
  record.isExtended = inodes.isExtended[number] === 1;
  record.layout = layoutOf(inodes, number);
  record.xattrCount = xattrCountOf(plan.xattrs.bodyBytes(table.xattrsOf(inode)));
  record.mode = table.modeOf(inode);
  record.sizeBytes = inodes.sizesBytes[number]!;
  record.union = ownBlock + inodes.unions[number]!;
  record.inodeNumber = number + 1;
  record.uid = table.uidOf(inode);
  record.gid = table.gidOf(inode);
  record.linkCount = index.linkCounts[number]!;
  record.mtimeSeconds = table.secondsOf(inode);
  record.mtimeNanoseconds = table.nanosecondsOf(inode);
}

/** `i_xattr_icount` for a body of this size. */
function xattrCountOf(bodyBytes: number): number {
  return bodyBytes === 0 ? 0 : 1 + (bodyBytes - xattrHeaderSizeBytes) / xattrUnitBytes;
}

/**
 * The inodes in the order of their nids. Most were placed behind all before them, so that only the
 * few that went into gaps are to be sorted, and merged in.
 */
function byPlace(nids: Uint32Array): Uint32Array {
  const inGaps = numbersInGaps(nids).sort((left, right) => nids[left]! - nids[right]!);
  const order = new Uint32Array(nids.length);
  let place = 0;
  let gap = 0;
  let endNid = 0;
  for (let number = 0; number < nids.length; number++) {
    const nid = nids[number]!;
    if (nid < endNid) continue;
    endNid = nid;
    while (gap < inGaps.length && nids[inGaps[gap]!]! < nid) order[place++] = inGaps[gap++]!;
    order[place++] = number;
  }
  return order;
}

/** The numbers of the inodes that are not behind all inodes of lower numbers. */
function numbersInGaps(nids: Uint32Array): Uint32Array {
  const numbers = new Uint32Array(nids.length);
  let count = 0;
  let endNid = 0;
  for (let number = 0; number < nids.length; number++) {
    if (nids[number]! < endNid) numbers[count++] = number;
    else endNid = nids[number]!;
  }
  return numbers.slice(0, count);
}

/** The digest as a UUID of version 8 (RFC 9562, section 5.8: bits of one's own making). */
function uuidOf(digest: Uint8Array): Uint8Array {
  const uuid = new Uint8Array(digest.subarray(0, 16));
  uuid[6] = (uuid[6]! & 0x0f) | 0x80;
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  return uuid;
}

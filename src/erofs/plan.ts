/**
 * Planning: from a tree to the place of everything in its image. Pure and deterministic.
 *
 * The image is, in this order: block 0 with the superblock and the device table (which may go on
 * through further blocks), the shared xattrs, the inodes with what lies behind them, and the data
 * blocks of directories and of content too long to lie behind an inode. Content of chunked files
 * is not in the image, only its addresses.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { alignUp } from "../util/bytes.ts";
import { noteRows } from "../util/garbage.ts";
import { type BlockOf } from "./chunk-map.ts";
import { clusterMapBytes } from "./cluster-map.ts";
import type { CompressionAlgorithm, Packing } from "./compression.ts";
import { planContent, sizeBytesOf } from "./content-plan.ts";
import { ContentPlaces } from "./content-places.ts";
import { DeviceMap } from "./device-map.ts";
import { chooseEpoch, type Timestamp } from "./epoch.ts";
import {
  blockSizeBytes,
  type DataLayout,
  dataLayout,
  deviceSlotSizeBytes,
  extendedInodeSizeBytes,
  slotSizeBytes,
} from "./format.ts";
import type { FileTree } from "./file-tree.ts";
import { fitsCompact, inodeSizeBytes } from "./inode-record.ts";
import { type PackedPlan, planPacked } from "./packed-plan.ts";
import { SlotAllocator } from "./slot-allocator.ts";
import { type Device, deviceTableOffsetOf, deviceTagBytesMax } from "./superblock.ts";
import { TreeIndex } from "./tree-index.ts";
import { XattrPlan } from "./xattr-plan.ts";

export interface PlanOptions {
  /** The packs that the image refers to, in the order of `device=` mount options. */
  readonly devices: readonly Device[];
  /** Asked while planning and again while writing; the answers must be the same. */
  readonly blockOf: BlockOf;
  /** Without it all chunks are plain. */
  readonly packing?: Packing;
  /**
   * Files of plain chunks name their device, which takes 8 bytes more for a file. Where images are
   * mounted from files, Linux (6.18) reads what unified addresses refer to page by page, at least
   * at the start of a file: it seems to compare such an address with one in the device to see
   * whether two pages follow each other (erofs_fileio_scan_folio() in fs/erofs/fileio.c).
   */
  readonly namesDevices?: boolean;
}

/** Per inode, by its number; arrays because there may be a million. */
export interface InodePlan {
  readonly sizesBytes: Float64Array;
  readonly nids: Uint32Array;
  /** 1 for a 64-byte inode. */
  readonly isExtended: Uint8Array;
  readonly layouts: Uint8Array;
  /** `i_u`; for flat layouts with data blocks in the image, counted from the first data block. */
  readonly unions: Uint32Array;
  /** Blocks in the data area of the image. */
  readonly dataBlocks: Uint32Array;
}

export interface ImagePlan {
  readonly index: TreeIndex;
  readonly inodes: InodePlan;
  readonly xattrs: XattrPlan;
  readonly epoch: Timestamp;
  readonly options: PlanOptions;
  readonly usesChunkMaps: boolean;
  /** Undefined where nothing is compressed. */
  readonly algorithm: CompressionAlgorithm | undefined;
  readonly packed: PackedPlan | undefined;
  readonly xattrBlock: number;
  readonly metaBlock: number;
  readonly dataBlock: number;
  /** Of the whole image. */
  readonly blocks: number;
}

const compressedLayouts = [dataLayout.compressedFull, dataLayout.compressedCompact];
/** Slot 0 stays free: the root would be inode number 0, which readdir(3) skips. */
const firstSlot = 1;
/** `extra_devices` is 16 bits. */
const devicesMax = 0xffff;
/** Addresses in the image are 32 bits; nids too, by our arrays. */
const uint32Max = 0xffffffff;
const beyond = "its metadata needs addresses of more than 32 bits";

/**
 * Throws AppError: `invalid_argument` for a tree or devices that make no sense, `unimplemented`
 * for what EROFS cannot store, and where metadata reaches into the packs' range.
 */
export function planImage(tree: FileTree, options: PlanOptions): ImagePlan {
  checkDevices(options.devices, 0);
  const index = new TreeIndex(tree);
  const xattrs = planXattrs(index);
  const sizesBytes = new Float64Array(index.inodes.length);
  for (let number = 0; number < sizesBytes.length; number++) {
    sizesBytes[number] = sizeBytesOf(index, number);
    noteRows();
  }
  const epoch = chooseEpoch(index, sizesBytes);
  const { inodes, packed, metaBytes, dataBlocks } = placeInodes(
    index,
    xattrs,
    sizesBytes,
    epoch,
    options,
  );

  const isCompressed = compressedLayouts.some((layout) => inodes.layouts.includes(layout));
  const algorithm = isCompressed ? options.packing?.algorithm : undefined;
  const headBytes = deviceTableOffsetOf(algorithm) + options.devices.length * deviceSlotSizeBytes;
  const xattrBlock = blocksOf(headBytes);
  const metaBlock = xattrBlock + blocksOf(xattrs.sharedBytes);
  const dataBlock = metaBlock + blocksOf(metaBytes);
  const blocks = dataBlock + dataBlocks;
  checkDevices(options.devices, blocks);
  const usesChunkMaps = inodes.layouts.includes(dataLayout.chunkBased);
  return {
    index,
    inodes,
    xattrs,
    epoch,
    options,
    usesChunkMaps,
    algorithm,
    packed,
    xattrBlock,
    metaBlock,
    dataBlock,
    blocks,
  };
}

function planXattrs(index: TreeIndex): XattrPlan {
  const plan = new XattrPlan();
  const { inodes } = index.tree;
  for (let number = 0; number < index.inodes.length; number++) {
    const xattrs = inodes.xattrsOf(index.inodes[number]!);
    if (xattrs.length > 0) plan.add(xattrs, () => index.pathOf(number));
  }
  plan.settle((xattrs) =>
    index.pathOf(index.inodes.findIndex((inode) => inodes.xattrsOf(inode) === xattrs)),
  );
  return plan;
}

function placeInodes(
  index: TreeIndex,
  xattrs: XattrPlan,
  sizesBytes: Float64Array,
  epoch: Timestamp,
  options: PlanOptions,
): {
  inodes: InodePlan;
  packed: PackedPlan | undefined;
  metaBytes: number;
  dataBlocks: number;
} {
  const { inodes } = index.tree;
  const count = index.inodes.length;
  const plan: InodePlan = {
    sizesBytes,
    nids: new Uint32Array(count),
    isExtended: new Uint8Array(count),
    layouts: new Uint8Array(count),
    unions: new Uint32Array(count),
    dataBlocks: new Uint32Array(count),
  };
  const slots = new SlotAllocator(firstSlot);
  const places = new ContentPlaces(options);
  let dataBlocks = 0;
  for (let number = 0; number < count; number++) {
    const inode = index.inodes[number]!;
    const sizeBytes = sizesBytes[number]!;
    const isCompact =
      inodes.secondsOf(inode) === epoch.seconds &&
      inodes.nanosecondsOf(inode) === epoch.nanoseconds &&
      fitsCompact(inodes.uidOf(inode), inodes.gidOf(inode), index.linkCounts[number]!, sizeBytes);
    const headBytes = inodeSizeBytes(!isCompact) + xattrs.bodyBytes(inodes.xattrsOf(inode));
    const content = planContent(inodes, inode, sizeBytes, headBytes, places);
    plan.isExtended[number] = isCompact ? 0 : 1;
    plan.layouts[number] = content.layout;
    plan.unions[number] = content.dataBlocks > 0 ? dataBlocks : content.union;
    plan.dataBlocks[number] = content.dataBlocks;
    plan.nids[number] = slots.place(headBytes + content.behindBytes);
    dataBlocks += content.dataBlocks;
    if (slots.sizeBytes / slotSizeBytes > uint32Max || dataBlocks > uint32Max) throw tooLarge();
    noteRows();
  }
  const packed = planPackedInode(places, slots);
  if (slots.sizeBytes / slotSizeBytes > uint32Max) throw tooLarge();
  return { inodes: plan, packed, metaBytes: slots.sizeBytes, dataBlocks };
}

/** Behind all other inodes, so that it is written last. */
function planPackedInode(
  { bundles, packing }: ContentPlaces,
  slots: SlotAllocator,
): PackedPlan | undefined {
  if (packing === undefined) return undefined;
  return planPacked(
    bundles,
    (block) => packing.bundleAt(block),
    (sizeBytes) =>
      slots.placeLast(extendedInodeSizeBytes + clusterMapBytes(extendedInodeSizeBytes, sizeBytes)),
  );
}

function checkDevices(devices: readonly Device[], primaryBlocks: number): void {
  const hasLongTag = devices.some(({ tag }) => Buffer.byteLength(tag) > deviceTagBytesMax);
  if (devices.length > devicesMax || hasLongTag) {
    throw new AppError("invalid_argument", `Cannot plan image of ${devices.length} devices`);
  }
  const problem = new DeviceMap(devices, primaryBlocks).findProblem();
  if (problem === undefined && primaryBlocks <= uint32Max) return;
  const code = primaryBlocks > 0 ? "unimplemented" : "invalid_argument";
  throw new AppError(code, `Cannot plan image of ${primaryBlocks} blocks: ${problem ?? beyond}`);
}

function tooLarge(): AppError {
  return new AppError("unimplemented", `Cannot plan image: ${beyond}`);
}

function blocksOf(sizeBytes: number): number {
  return alignUp(sizeBytes, blockSizeBytes) / blockSizeBytes;
}

export function layoutOf(plan: InodePlan, number: number): DataLayout {
  return plan.layouts[number] as DataLayout;
}

/**
 * Reading the map of a compressed inode. The kernel takes more than this project writes; whatever
 * differs from that is refused.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { alignUp } from "../util/bytes.ts";
import { compactBlocksMax, compactIndexBytes, decodeCompactIndex } from "./compact-index.ts";
import { contentBlocks, extentBytesMax } from "./compression.ts";
import {
  blockSizeBytes,
  clusterIndexField as index,
  clusterIndexSizeBytes,
  clusterType,
  compactAdvise,
  mapAdvise,
  mapAlignmentBytes,
  mapGapSizeBytes,
  mapHeaderField as header,
  mapHeaderSizeBytes,
  storedBlocksFlag,
  wholeFragmentBit,
} from "./format.ts";
import type { ErofsImage } from "./open-image.ts";
import type { Extent } from "./read-content.ts";
import { type ImageInode, readInode } from "./read-inode.ts";
import type { StoredExtent } from "./stored-extents.ts";

const extentBlocksMax = extentBytesMax / blockSizeBytes;

/** The same of a file that has a compact index. */
export function* compactExtents(image: ErofsImage, inode: ImageInode): Generator<Extent, void> {
  const mapOffset = alignUp(inode.xattrOffsetBytes + inode.xattrSizeBytes, mapAlignmentBytes);
  const view = image.bytes.view("EROFS cluster map", mapOffset, mapHeaderSizeBytes);
  const isKnown =
    view.getUint32(header.fragmentOffset, true) === 0 &&
    view.getUint16(header.advise, true) === compactAdvise &&
    view.getUint8(header.algorithms) === image.superblock.algorithm &&
    view.getUint8(header.clusterBits) === 0;
  const blocks = contentBlocks(inode.sizeBytes);
  if (!isKnown || blocks > compactBlocksMax) throw malformed(inode, "an index of unknown form");
  const start = mapOffset + mapHeaderSizeBytes;
  const bytes = image.bytes.take("EROFS index", start, compactIndexBytes(start, blocks));
  const extents = decodeCompactIndex(bytes, start, blocks);
  if (extents === undefined) throw malformed(inode, "an index that contradicts itself");
  for (let first = 0, at = 0; first < extents.length;) {
    const { block, storedBlocks, blocks: count } = extents[first]!;
    if (storedBlocks !== count) {
      yield extentAt(image, inode, at, count, { kind: "compressed", block, storedBlocks });
      first += 1;
      at += count;
      continue;
    }
    let run = 1;
    while (isRawAt(extents[first + run], block + run)) run += 1;
    yield extentAt(image, inode, at, run, { kind: "blocks", block });
    first += run;
    at += run;
  }
}

function isRawAt(extent: StoredExtent | undefined, block: number): boolean {
  return extent?.block === block && extent.storedBlocks === extent.blocks;
}

/** All of the file in order: compressed extents, runs of raw blocks, and at the end a fragment. */
export function* clusterExtents(image: ErofsImage, inode: ImageInode): Generator<Extent, void> {
  const mapOffset = alignUp(inode.xattrOffsetBytes + inode.xattrSizeBytes, mapAlignmentBytes);
  const view = image.bytes.view("EROFS cluster map", mapOffset, mapHeaderSizeBytes);
  if ((view.getUint8(header.clusterBits) & wholeFragmentBit) !== 0) {
    const packedOffset = Number(view.getBigUint64(0, true) & 0x7fff_ffff_ffff_ffffn);
    yield fragment(image, inode, 0, packedOffset);
    return;
  }
  const advise = view.getUint16(header.advise, true);
  const isKnown =
    (advise & ~mapAdvise.fragment) === mapAdvise.bigCluster &&
    view.getUint8(header.algorithms) === image.superblock.algorithm &&
    view.getUint8(header.clusterBits) === 0;
  if (!isKnown) throw malformed(inode, "a cluster map of unknown form");
  const hasTail = (advise & mapAdvise.fragment) !== 0;
  const tailLow = hasTail ? view.getUint32(header.fragmentOffset, true) : undefined;
  yield* new ClusterReader(image, inode, mapOffset).extents(tailLow);
}

class ClusterReader {
  readonly #image: ErofsImage;
  readonly #inode: ImageInode;
  readonly #indexOffset: number;
  readonly #blocks: number;

  constructor(image: ErofsImage, inode: ImageInode, mapOffset: number) {
    this.#image = image;
    this.#inode = inode;
    this.#indexOffset = mapOffset + mapHeaderSizeBytes + mapGapSizeBytes;
    this.#blocks = contentBlocks(inode.sizeBytes);
    const endBytes = this.#indexOffset + this.#blocks * clusterIndexSizeBytes;
    if (endBytes > image.superblock.blocks * blockSizeBytes) {
      throw malformed(inode, `a map of ${this.#blocks} blocks goes past the image`);
    }
  }

  *extents(tailLow: number | undefined): Generator<Extent, void> {
    for (let at = 0; at < this.#blocks;) {
      const entry = this.#entry(at);
      if (entry.type === clusterType.plain) {
        const count = this.#countRun(at, entry.value);
        yield extentAt(this.#image, this.#inode, at, count, { kind: "blocks", block: entry.value });
        at += count;
      } else if (entry.type === clusterType.head) {
        const { count, storedBlocks } = this.#readCluster(at);
        if (tailLow !== undefined && at + count === this.#blocks) {
          const packedOffset = entry.value * 2 ** 32 + tailLow;
          yield fragment(this.#image, this.#inode, at * blockSizeBytes, packedOffset);
        } else {
          const where = { kind: "compressed", block: entry.value, storedBlocks } as const;
          yield extentAt(this.#image, this.#inode, at, count, where);
        }
        at += count;
      } else {
        throw malformed(this.#inode, `block ${at} belongs to no extent`);
      }
    }
  }

  /** Raw blocks that follow each other, from `first` on. */
  #countRun(at: number, first: number): number {
    let count = 1;
    for (; at + count < this.#blocks; count++) {
      const { type, value } = this.#entry(at + count);
      if (type !== clusterType.plain || value !== first + count) break;
    }
    return count;
  }

  /** An extent whose head is at `at`; checks every distance. Only a fragment has one block. */
  #readCluster(at: number): { count: number; storedBlocks: number } {
    const first = at + 1 < this.#blocks ? this.#entry(at + 1) : undefined;
    if (first?.type !== clusterType.rest) return { count: 1, storedBlocks: 0 };
    const count = 1 + (first.value >>> 16);
    const toHead = first.value & 0xffff;
    if ((toHead & storedBlocksFlag) === 0 || count < 2 || count > extentBlocksMax) {
      throw malformed(this.#inode, `the extent at block ${at} has no length`);
    }
    for (let rest = 2; rest < count; rest++) {
      const entry = at + rest < this.#blocks ? this.#entry(at + rest) : undefined;
      const expected = rest + (count - rest) * 0x10000;
      if (entry?.type === clusterType.rest && entry.value === expected) continue;
      throw malformed(this.#inode, `block ${at + rest} contradicts its extent`);
    }
    return { count, storedBlocks: toHead & ~storedBlocksFlag };
  }

  #entry(at: number): { type: number; value: number } {
    const offset = this.#indexOffset + at * clusterIndexSizeBytes;
    const view = this.#image.bytes.view("EROFS cluster index", offset, clusterIndexSizeBytes);
    if (view.getUint16(index.offset, true) !== 0) {
      throw malformed(this.#inode, `the extent of block ${at} begins within it`);
    }
    return { type: view.getUint16(index.type, true), value: view.getUint32(index.address, true) };
  }
}

type Where =
  | { readonly kind: "blocks"; readonly block: number }
  | { readonly kind: "compressed"; readonly block: number; readonly storedBlocks: number };

/** `count` blocks of content from block `at` on. */
function extentAt(
  image: ErofsImage,
  inode: ImageInode,
  at: number,
  count: number,
  where: Where,
): Extent {
  const fileOffsetBytes = at * blockSizeBytes;
  const lengthBytes = Math.min(count * blockSizeBytes, inode.sizeBytes - fileOffsetBytes);
  const storedBlocks = where.kind === "compressed" ? where.storedBlocks : count;
  const isShorter = storedBlocks > 0 && storedBlocks < count && count <= extentBlocksMax;
  if (where.kind === "compressed" && !isShorter) {
    throw malformed(inode, `${count} blocks are compressed to ${storedBlocks}`);
  }
  if (!image.deviceMap.holds(where.block, storedBlocks)) {
    throw malformed(inode, `${storedBlocks} blocks at ${where.block} lie in no device`);
  }
  return { ...where, fileOffsetBytes, lengthBytes };
}

function fragment(
  image: ErofsImage,
  inode: ImageInode,
  fileOffsetBytes: number,
  packedOffsetBytes: number,
): Extent {
  const { packedNid } = image.superblock;
  const lengthBytes = inode.sizeBytes - fileOffsetBytes;
  if (packedNid === 0 || inode.nid === packedNid) throw malformed(inode, "a fragment of nothing");
  if (packedOffsetBytes + lengthBytes > readInode(image, packedNid).sizeBytes) {
    throw malformed(inode, `a fragment at ${packedOffsetBytes} ends behind the packed inode`);
  }
  return { kind: "fragment", fileOffsetBytes, lengthBytes, packedOffsetBytes };
}

function malformed(inode: ImageInode, problem: string): FormatError {
  return new FormatError(`EROFS clusters of nid ${inode.nid}`, inode.xattrOffsetBytes, problem);
}

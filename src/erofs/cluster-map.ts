/**
 * The map behind a compressed inode: a header, and an index of the blocks of content.
 *
 * The full index (`z_erofs_load_full_lcluster` in fs/erofs/zmap.c) has 8 bytes for each block and
 * takes an address for each extent, wherever it lies; what lies in a row has a compact one
 * (`compact-index.ts`).
 *
 * @module
 */
import { alignUp } from "../util/bytes.ts";
import { type CompressionAlgorithm, contentBlocks } from "./compression.ts";
import {
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
import type { ImageStream } from "./image-stream.ts";
import type { StoredExtent } from "./stored-extents.ts";

/** What the second half of a packed offset is counted in. */
const uint32Range = 2 ** 32;

/** Size of the full map of a file, from the end of its inode and xattrs (`headBytes`) on. */
export function clusterMapBytes(headBytes: number, sizeBytes: number): number {
  const indexBytes = contentBlocks(sizeBytes) * clusterIndexSizeBytes;
  return fragmentMapBytes(headBytes) + mapGapSizeBytes + indexBytes;
}

/** The same for a file that is nothing but a fragment. */
export function fragmentMapBytes(headBytes: number): number {
  return alignUp(headBytes, mapAlignmentBytes) - headBytes + mapHeaderSizeBytes;
}

/** Where a compact index begins behind inode and xattrs, which are at a multiple of 32. */
export function compactIndexStart(headBytes: number): number {
  return headBytes + fragmentMapBytes(headBytes);
}

/** Writes maps into the stream, which stands behind inode and xattrs. */
export class ClusterMapWriter {
  readonly #stream: ImageStream;

  constructor(stream: ImageStream) {
    this.#stream = stream;
  }

  /** The whole file is the range of the packed inode from this offset on. */
  writeFragment(packedOffsetBytes: number): void {
    const at = this.#claimHeader();
    this.#stream.view.setBigUint64(at, BigInt(packedOffsetBytes), true);
    this.#stream.buffer[at + header.clusterBits]! |= wholeFragmentBit;
  }

  writeCompact(algorithm: CompressionAlgorithm, bytes: Uint8Array): void {
    this.#writeHeader(algorithm, compactAdvise, 0);
    this.#stream.write(bytes);
  }

  /** The indexes of all extents must follow. */
  startFull(algorithm: CompressionAlgorithm, tailOffsetBytes: number | undefined): void {
    const advise = mapAdvise.bigCluster | (tailOffsetBytes === undefined ? 0 : mapAdvise.fragment);
    this.#writeHeader(algorithm, advise, (tailOffsetBytes ?? 0) % uint32Range);
    this.#stream.claim(mapGapSizeBytes);
  }

  writeExtent({ block, storedBlocks, blocks }: StoredExtent): void {
    if (storedBlocks !== blocks) this.#writeCluster(block, storedBlocks, blocks);
    else for (let at = 0; at < blocks; at++) this.#writeIndex(clusterType.plain, block + at);
  }

  /** The last extent of a file: a range of the packed inode that the header tells the rest of. */
  writeTail(packedOffsetBytes: number, blocks: number): void {
    this.#writeCluster(Math.floor(packedOffsetBytes / uint32Range), 0, blocks);
  }

  #writeCluster(address: number, storedBlocks: number, blocks: number): void {
    this.#writeIndex(clusterType.head, address);
    for (let at = 1; at < blocks; at++) {
      const toHead = at === 1 ? storedBlocks | storedBlocksFlag : at;
      this.#writeIndex(clusterType.rest, toHead + (blocks - at) * 0x10000);
    }
  }

  #writeIndex(type: number, value: number): void {
    const at = this.#stream.claim(clusterIndexSizeBytes);
    this.#stream.view.setUint16(at + index.type, type, true);
    this.#stream.view.setUint32(at + index.address, value, true);
  }

  #writeHeader(algorithm: CompressionAlgorithm, advise: number, fragmentOffset: number): void {
    const at = this.#claimHeader();
    const { view } = this.#stream;
    view.setUint32(at + header.fragmentOffset, fragmentOffset, true);
    view.setUint16(at + header.advise, advise, true);
    view.setUint8(at + header.algorithms, algorithm);
  }

  #claimHeader(): number {
    this.#stream.padTo(alignUp(this.#stream.positionBytes, mapAlignmentBytes));
    return this.#stream.claim(mapHeaderSizeBytes);
  }
}

/**
 * Where chunks lie, checked against the devices of the image: a wrong address would silently become
 * wrong content.
 *
 * @module
 */
import { assert, AssertionError, defined } from "../util/assert.ts";
import type { BlockOf } from "./chunk-map.ts";
import { type Bundle, contentBlocks, extentBytesMax, type Packing } from "./compression.ts";
import { DeviceMap } from "./device-map.ts";
import type { PlanOptions } from "./plan.ts";
import type { ChunkRef } from "./tree.ts";

export class ContentPlaces {
  readonly blockOf: BlockOf;
  readonly packing: Packing | undefined;
  readonly devices: DeviceMap;
  /** Addresses of the bundles that chunks of the image lie in. */
  readonly bundles = new Set<number>();

  /** As in `PlanOptions`. */
  readonly namesDevices: boolean;

  constructor({ blockOf, packing, devices, namesDevices = false }: PlanOptions) {
    this.blockOf = blockOf;
    this.packing = packing;
    this.devices = new DeviceMap(devices, 0);
    this.namesDevices = namesDevices;
  }

  /**
   * Takes a chunk for a compressed file; returns how many blocks it is stored in. A member of a
   * bundle counts as if it was stored alone: `st_blocks` of 0 would tell some that it is a hole.
   * Asserts that it lies where it can be read from, and that only the last one is in a bundle.
   */
  claim(chunk: ChunkRef, sizeBytes: number, isLast: boolean): number {
    const packing = defined(this.packing, "the packing of compressed chunks");
    const block = this.blockOf(chunk);
    const bundleOffset = packing.bundleOffsetOf(chunk);
    if (bundleOffset !== undefined) {
      assert(isLast, "only the end of a file is a fragment");
      const bundle = this.#claimBundle(packing, block);
      assert(bundleOffset + sizeBytes <= bundle.sizeBytes, "a bundle holds all of its members");
      return contentBlocks(sizeBytes);
    }
    const extentBlocks = packing.extentBlocksOf(chunk);
    const storedBlocks =
      extentBlocks === undefined ? contentBlocks(sizeBytes) : sumOf(extentBlocks);
    if (extentBlocks !== undefined) {
      const expected = Math.ceil(sizeBytes / extentBytesMax);
      assert(extentBlocks.length === expected, "extents cover their chunk");
    }
    this.#checkDevice(block, storedBlocks);
    return storedBlocks;
  }

  #claimBundle(packing: Packing, block: number): Bundle {
    const bundle = packing.bundleAt(block);
    if (this.bundles.has(block)) return bundle;
    this.#checkDevice(block, bundle.storedBlocks);
    this.bundles.add(block);
    return bundle;
  }

  #checkDevice(block: number, count: number): void {
    if (this.devices.deviceOf(block) !== undefined && this.devices.holds(block, count)) return;
    throw new AssertionError(`${count} blocks at ${block} lie in no device of the image`);
  }
}

function sumOf(values: Uint8Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

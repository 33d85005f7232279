/**
 * Which device holds which unified block addresses.
 *
 * The kernel looks an address up in the ranges `[uniaddr, uniaddr + blocks)` of the devices and
 * takes what no range holds for a block of the primary image (`erofs_map_dev`). A wrong address
 * would so silently become wrong content; writer and reader both ask here before they believe one.
 *
 * @module
 */
import type { Device } from "./superblock.ts";

export class DeviceMap {
  readonly #byAddress: readonly Device[];
  readonly #primaryBlocks: number;
  #latest: Device | undefined;

  constructor(devices: readonly Device[], primaryBlocks: number) {
    this.#byAddress = [...devices].sort((left, right) => left.uniaddr - right.uniaddr);
    this.#primaryBlocks = primaryBlocks;
  }

  /** The first problem of the ranges, or undefined: overlaps, ends beyond 32 bits. */
  findProblem(): string | undefined {
    let end = this.#primaryBlocks;
    let previous = "the image itself";
    for (const { tag, uniaddr, blocks } of this.#byAddress) {
      if (uniaddr < end) return `device "${tag}" at block ${uniaddr} overlaps ${previous}`;
      end = uniaddr + blocks;
      if (blocks === 0 || end > addressEnd) return `device "${tag}" has ${blocks} blocks`;
      previous = `device "${tag}"`;
    }
    return undefined;
  }

  /** Whether one device, or the primary image, holds all these blocks. */
  holds(block: number, count: number): boolean {
    const device = this.deviceOf(block);
    if (device === undefined) return block + count <= this.#primaryBlocks;
    return block + count <= device.uniaddr + device.blocks;
  }

  /** The device that holds a block; undefined for blocks of the primary image or of nothing. */
  deviceOf(block: number): Device | undefined {
    if (this.#latest === undefined || !contains(this.#latest, block)) {
      this.#latest = this.#search(block);
    }
    return this.#latest;
  }

  #search(block: number): Device | undefined {
    let low = 0;
    let high = this.#byAddress.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#byAddress[middle]!.uniaddr <= block) low = middle + 1;
      else high = middle;
    }
    const candidate = this.#byAddress[low - 1];
    return candidate !== undefined && contains(candidate, block) ? candidate : undefined;
  }
}

/** All ones marks a hole, so the last address is one below. */
const addressEnd = 0xffffffff;

function contains(device: Device, block: number): boolean {
  return block >= device.uniaddr && block < device.uniaddr + device.blocks;
}

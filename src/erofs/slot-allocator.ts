/**
 * Places inodes and what lies behind them in the slots of the metadata area.
 *
 * What fits in a block never crosses into the next one. The format demands that of inline content;
 * for the rest it saves the kernel a second block. The ends of blocks that stay free so are filled
 * with the small inodes that follow: nearly no space is lost and neighbours stay near.
 *
 * @module
 */
import { alignUp } from "../util/bytes.ts";
import { blockSizeBytes, slotSizeBytes } from "./format.ts";

/** Few, so that an inode stays near its neighbours and the search short. */
const gapsMax = 8;

interface Gap {
  startBytes: number;
  sizeBytes: number;
}

export class SlotAllocator {
  #endBytes: number;
  readonly #gaps: Gap[] = [];

  /** Slots below `firstSlot` are not given out. */
  constructor(firstSlot: number) {
    this.#endBytes = firstSlot * slotSizeBytes;
  }

  /** Bytes of the area so far. */
  get sizeBytes(): number {
    return this.#endBytes;
  }

  /** The first slot of room for `sizeBytes`. */
  place(sizeBytes: number): number {
    const roomBytes = alignUp(sizeBytes, slotSizeBytes);
    const startBytes = this.#takeGap(roomBytes) ?? this.#append(roomBytes);
    return startBytes / slotSizeBytes;
  }

  /** As `place`, behind everything else. */
  placeLast(sizeBytes: number): number {
    return this.#append(alignUp(sizeBytes, slotSizeBytes)) / slotSizeBytes;
  }

  #takeGap(roomBytes: number): number | undefined {
    for (let at = 0; at < this.#gaps.length; at++) {
      const gap = this.#gaps[at]!;
      if (gap.sizeBytes < roomBytes) continue;
      const { startBytes } = gap;
      gap.startBytes += roomBytes;
      gap.sizeBytes -= roomBytes;
      if (gap.sizeBytes === 0) this.#gaps.splice(at, 1);
      return startBytes;
    }
    return undefined;
  }

  #append(roomBytes: number): number {
    const freeBytes = alignUp(this.#endBytes, blockSizeBytes) - this.#endBytes;
    if (roomBytes > freeBytes && roomBytes <= blockSizeBytes && freeBytes > 0) {
      this.#gaps.push({ startBytes: this.#endBytes, sizeBytes: freeBytes });
      if (this.#gaps.length > gapsMax) this.#gaps.shift();
      this.#endBytes += freeBytes;
    }
    const startBytes = this.#endBytes;
    this.#endBytes += roomBytes;
    return startBytes;
  }
}

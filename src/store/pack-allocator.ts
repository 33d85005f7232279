/**
 * Hands out blocks of the node's address space to conversions, which write them at the same time.
 *
 * It lives in the main thread. Blocks are handed out in ascending order and never twice; what a
 * conversion did not publish is punched out by whoever ends it. A reservation protects its packs:
 * an empty pack is deleted only when no conversion may still write to it.
 *
 * @module
 */
import { mkdir, open, readdir, stat, unlink } from "node:fs/promises";
import { AppError } from "../errors.ts";
import { Mutex } from "../util/mutex.ts";
import {
  firstBlockOfPack,
  packBlocks,
  packBytes,
  packIdMax,
  packIdMin,
  packOfBlock,
  type BlockAddress,
  type BlockRange,
} from "./layout.ts";
import { numberInName, packPath, type StorePaths } from "./paths.ts";

/** The blocks one conversion got. */
export class Reservation {
  readonly ranges: BlockRange[] = [];
}

export class PackAllocator {
  readonly #paths: StorePaths;
  readonly #mutex = new Mutex();
  readonly #reservations = new Set<Reservation>();
  /** The next free block of each pack file there is. */
  readonly #nextBlock = new Map<number, BlockAddress>();

  constructor(paths: StorePaths) {
    this.#paths = paths;
  }

  /**
   * Takes the pack files that exist.
   *
   * @param endOfContent the block behind the last chunk of a pack, undefined for an empty one
   */
  async load(endOfContent: (packId: number) => BlockAddress | undefined): Promise<void> {
    await mkdir(this.#paths.packs, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#paths.packs)) {
      const packId = numberInName(name, ".pack");
      if (packId === undefined) continue;
      this.#nextBlock.set(packId, endOfContent(packId) ?? firstBlockOfPack(packId));
    }
  }

  begin(): Reservation {
    const reservation = new Reservation();
    this.#reservations.add(reservation);
    return reservation;
  }

  end(reservation: Reservation): void {
    this.#reservations.delete(reservation);
  }

  /** `count` blocks in a row, for this reservation; makes a new pack when the others are full. */
  reserve(reservation: Reservation, count: number): Promise<BlockAddress> {
    return this.#mutex.run(async () => {
      if (!Number.isSafeInteger(count) || count < 1 || count > packBlocks) {
        throw new RangeError(`cannot reserve ${count} blocks`);
      }
      const packId = this.#packWithRoom(count) ?? (await this.#createPack());
      const block = this.#nextBlock.get(packId) ?? firstBlockOfPack(packId);
      this.#nextBlock.set(packId, block + count);
      reservation.ranges.push({ block, count });
      return block;
    });
  }

  /** Deletes the packs that hold nothing and that no conversion may write to. */
  deleteEmpty(isEmpty: (packId: number) => boolean): Promise<void> {
    return this.#mutex.run(async () => {
      const busy = new Set<number>();
      for (const reservation of this.#reservations) {
        for (const range of reservation.ranges) busy.add(packOfBlock(range.block));
      }
      for (const packId of this.#nextBlock.keys()) {
        if (busy.has(packId) || !isEmpty(packId)) continue;
        await unlink(packPath(this.#paths, packId));
        this.#nextBlock.delete(packId);
      }
    });
  }

  #packWithRoom(count: number): number | undefined {
    for (const [packId, next] of this.#nextBlock) {
      if (next + count <= firstBlockOfPack(packId) + packBlocks) return packId;
    }
    return undefined;
  }

  async #createPack(): Promise<number> {
    let packId = packIdMin;
    while (this.#nextBlock.has(packId)) packId += 1;
    if (packId > packIdMax) {
      throw new AppError("resource_exhausted", "All addresses for content are in use (16 TiB)", {
        remedy: "remove images, so that packs become empty and their addresses free",
      });
    }
    const file = await open(packPath(this.#paths, packId), "wx", 0o600);
    try {
      // The whole size at once, sparse: neither EROFS nor a loop device ever sees a pack grow.
      await file.truncate(packBytes);
      await file.sync();
    } finally {
      await file.close();
    }
    this.#nextBlock.set(packId, firstBlockOfPack(packId));
    return packId;
  }
}

/** Throws `data_loss` unless the pack file is there in its whole size. */
export async function verifyPackFile(paths: StorePaths, packId: number): Promise<void> {
  const path = packPath(paths, packId);
  const found = await stat(path).catch(() => undefined);
  if (found?.size === packBytes) return;
  const state = found === undefined ? "is missing" : `has ${found.size} bytes, not ${packBytes}`;
  throw new AppError("data_loss", `Pack "${path}" ${state}, but images have content in it`, {
    remedy:
      "restore the file from a backup, or run `dedup-snapshotter check --repair` with the daemon " +
      "stopped: it gives up the layers that need it, whose images can then be removed and pulled",
  });
}

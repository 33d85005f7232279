/**
 * Hands out blocks of the node's address space to conversions, which write them at the same time.
 *
 * It lives in the main thread. Blocks are handed out in ascending order and never twice; what a
 * conversion did not publish is punched out by whoever ends it. A reservation protects its packs:
 * an empty pack is deleted only when no conversion may still write to it.
 *
 * A lazy pack belongs to one layer as a whole. Its number is taken as long as its file is there or
 * dedupd has it open, which it marks with a file: another pack by that number would be read in the
 * place of the first one. A process that has forgotten what it deleted goes by the same files.
 *
 * @module
 */
import { mkdir, open, readdir, stat, unlink } from "node:fs/promises";
import { AppError } from "../errors.ts";
import { GiB } from "../util/bytes.ts";
import { Mutex } from "../util/mutex.ts";
import { deleteLazyPack } from "./lazy-pack.ts";
import {
  firstBlockOfPack,
  isLazyPack,
  lazyBytesMax,
  lazyPackFor,
  packBlocks,
  packBytesOf,
  packIdMax,
  packIdMin,
  packOfBlock,
  type BlockAddress,
  type BlockRange,
} from "./layout.ts";
import { numberInName, packOfMarker, packPath, type StorePaths } from "./paths.ts";

/** The blocks one conversion got. */
export class Reservation {
  readonly ranges: BlockRange[] = [];
  /** The pack made for it, if it builds a lazy layer. */
  lazyPack: number | undefined;
}

export class PackAllocator {
  readonly #paths: StorePaths;
  readonly #mutex = new Mutex();
  readonly #reservations = new Set<Reservation>();
  /** The next free block of each pack file there is. */
  readonly #nextBlock = new Map<number, BlockAddress>();
  /** Numbers of lazy packs that are not to be given out, whether or not the file is there. */
  readonly #heldIds = new Set<number>();

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
      if (packId === undefined || isLazyPack(packId)) continue;
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

  /**
   * Makes a sparse pack with room for so much content of a lazy layer.
   *
   * @throws AppError `failed_precondition` for more than any pack can hold, `resource_exhausted`
   *   where all numbers are taken
   */
  createLazyPack(reservation: Reservation, contentBytes: number): Promise<number> {
    return this.#mutex.run(async () => {
      const fitting = lazyPackFor(contentBytes);
      if (fitting === undefined) {
        const limit = `${lazyBytesMax / GiB} GiB`;
        const problem = `not lazy: ${contentBytes} bytes of content, which is more than ${limit}`;
        throw new AppError("failed_precondition", problem);
      }
      const names = await readdir(this.#paths.packs);
      const taken = new Set(names.map((name) => numberInName(name, ".pack") ?? packOfMarker(name)));
      let packId = fitting.firstId;
      while (taken.has(packId) || this.#heldIds.has(packId)) packId += 1;
      if (packId > fitting.lastId) {
        throw new AppError("resource_exhausted", "All addresses for lazy layers are in use", {
          remedy: "remove images whose content is not fetched, or wait until more is",
        });
      }
      // A crash may have left files beside the pack, of another layer.
      deleteLazyPack(this.#paths, packId);
      reservation.lazyPack = packId;
      await this.#makeFile(packId);
      return packId;
    });
  }

  /** Deletes the pack that was made for the reservation, unless it is the one to be kept. */
  dropLazyPack({ lazyPack }: Reservation, kept: number | undefined): Promise<void> {
    return this.#mutex.run(async () => {
      if (lazyPack !== undefined && lazyPack !== kept) deleteLazyPack(this.#paths, lazyPack);
    });
  }

  /** Keeps the numbers of packs that are being deleted from being given out, until `unhold`. */
  hold(packIds: readonly number[]): void {
    for (const packId of packIds) this.#heldIds.add(packId);
  }

  unhold(packIds: readonly number[]): void {
    for (const packId of packIds) this.#heldIds.delete(packId);
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
      throw new AppError("resource_exhausted", "All addresses for content are in use (8 TiB)", {
        remedy: "remove images, so that packs become empty and their addresses free",
      });
    }
    await this.#makeFile(packId);
    this.#nextBlock.set(packId, firstBlockOfPack(packId));
    return packId;
  }

  async #makeFile(packId: number): Promise<void> {
    const file = await open(packPath(this.#paths, packId), "wx", 0o600);
    try {
      // The whole size at once, sparse: neither EROFS nor a loop device ever sees a pack grow.
      await file.truncate(packBytesOf(packId));
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** Throws `data_loss` unless the pack file is there in its whole size. */
export async function verifyPackFile(paths: StorePaths, packId: number): Promise<void> {
  const path = packPath(paths, packId);
  const found = await stat(path).catch(() => undefined);
  const sizeBytes = packBytesOf(packId);
  if (found?.size === sizeBytes) return;
  const state = found === undefined ? "is missing" : `has ${found.size} bytes, not ${sizeBytes}`;
  throw new AppError("data_loss", `Pack "${path}" ${state}, but images have content in it`, {
    remedy:
      "restore the file from a backup, or run `dedup-snapshotter check --repair` with the daemon " +
      "stopped: it gives up the layers that need it, whose images can then be removed and pulled",
  });
}

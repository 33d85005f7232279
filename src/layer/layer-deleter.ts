/**
 * Deletes layers that no snapshot refers to, once nobody reads them any more.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import type { LayerMounts } from "../snapshot/contract.ts";
import type { PackAllocator } from "../store/pack-allocator.ts";
import type { Logger } from "../util/logger.ts";
import type { Mutex } from "../util/mutex.ts";
import type { WorkerPool } from "../workers.ts";

/** After this time released layers that were in use are looked at again; then ever more seldom. */
const retryMsMin = 30_000;
const retryMsMax = 900_000;

export interface LayerDeleterOptions {
  /** Serialises all that changes the index. */
  readonly lock: Mutex;
  readonly housekeeper: Pick<WorkerPool, "call">;
  readonly allocator: PackAllocator;
  readonly mounts: Pick<LayerMounts, "evict">;
  /** Whether a snapshot refers to the layer. */
  readonly isReferenced: (layerId: number) => boolean;
  /** Resolves when that no snapshot refers to it would be so after a loss of power, too. */
  readonly durable: () => Promise<void>;
  /** Whether a snapshot is about to refer to it. */
  readonly isProtected: (layerId: number) => boolean;
  readonly isPackEmpty: (packId: number) => boolean;
  /** The lazy packs of the layers. */
  readonly lazyPacksOf: (layerIds: readonly number[]) => readonly number[];
  /**
   * The files of these packs are gone, or about to go; resolves when nobody has them open any more,
   * and rejects where that is not known. Their numbers are not given out before.
   */
  readonly letGoOfPacks: (packIds: readonly number[]) => Promise<void>;
  /** Layers were deleted or content was found lost: there may be something to store anew. */
  readonly onOutdated: () => void;
  readonly log: Logger;
}

export class LayerDeleter {
  readonly #options: LayerDeleterOptions;
  /** Released, but not deleted yet: somebody still has them. */
  readonly #unreleased = new Set<number>();
  /** Of them, those whose image was open when they were looked at. */
  #inUse: ReadonlySet<number> = new Set();
  #retry: Timer | undefined;
  #retryMs = retryMsMin;

  constructor(options: LayerDeleterOptions) {
    this.#options = options;
  }

  /** Deletes those of the layers that no snapshot refers to and nothing protects. */
  async release(layerIds: readonly number[]): Promise<void> {
    for (const layerId of layerIds) this.#unreleased.add(layerId);
    await this.#options.lock.run(() => this.#deleteUnused());
    clearTimeout(this.#retry);
    if (this.#unreleased.size === 0) return;
    if (layerIds.length > 0) this.#retryMs = retryMsMin;
    this.#retry = setTimeout(() => {
      this.#retryMs = Math.min(2 * this.#retryMs, retryMsMax);
      this.release([]).catch((error: unknown) => {
        this.#options.log.error({ reason: describeError(error) }, "cannot delete layers");
      });
    }, this.#retryMs);
    this.#retry.unref();
  }

  /** Deletes what can be deleted by now; the rest the next start finds. */
  async close(): Promise<void> {
    await this.release([]);
    clearTimeout(this.#retry);
  }

  /** Deletes what can be deleted of what was released; the rest waits for the next time. */
  async #deleteUnused(): Promise<void> {
    const { housekeeper, allocator, isReferenced, isPackEmpty, onOutdated } = this.#options;
    const { durable, log } = this.#options;
    const unmounted: number[] = [];
    for (const layerId of this.#unreleased) {
      if (this.#options.isProtected(layerId)) continue;
      if (isReferenced(layerId)) this.#unreleased.delete(layerId);
      else if (await this.#unmount(layerId)) unmounted.push(layerId);
    }
    if (unmounted.length === 0) return;
    const lazyPacks = this.#options.lazyPacksOf(unmounted);
    allocator.hold(lazyPacks);
    try {
      // What a transaction gave up must not go before the transaction is on disk.
      await durable();
      // A loop device lets go of its image some moments later: worth waiting for the first time.
      const waits = unmounted.some((layerId) => !this.#inUse.has(layerId));
      const request = { layerIds: unmounted, waits };
      const inUse = new Set(await housekeeper.call<number[]>("deleteLayers", request));
      this.#inUse = inUse;
      for (const layerId of unmounted) if (!inUse.has(layerId)) this.#unreleased.delete(layerId);
      if (inUse.size > 0) log.info({ layers: [...inUse] }, "layers wait: their images are in use");
      await allocator.deleteEmpty(isPackEmpty);
      if (inUse.size < unmounted.length) onOutdated();
    } catch (error) {
      log.error({ layers: unmounted, reason: describeError(error) }, "cannot delete layers");
    } finally {
      void this.#letGo(lazyPacks, new Set(this.#options.lazyPacksOf(unmounted)));
    }
  }

  /** Not waited for: who has a pack open may be slow to answer. */
  async #letGo(packs: readonly number[], kept: ReadonlySet<number>): Promise<void> {
    const deleted = packs.filter((packId) => !kept.has(packId));
    try {
      if (deleted.length > 0) await this.#options.letGoOfPacks(deleted);
    } catch (error) {
      const fields = { packs: deleted, reason: describeError(error) };
      this.#options.log.warn(fields, "packs are deleted, but may be open");
    }
    this.#options.allocator.unhold(packs);
  }

  async #unmount(layerId: number): Promise<boolean> {
    try {
      await this.#options.mounts.evict(layerId);
      return true;
    } catch (error) {
      // A container goes on with the layer, which has been replaced or removed under it.
      const isHeld = error instanceof AppError && error.code === "failed_precondition";
      const fields = { layerId, reason: describeError(error) };
      this.#options.log[isHeld ? "debug" : "warn"](fields, "a layer stays mounted");
      return false;
    }
  }
}

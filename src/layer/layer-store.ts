/**
 * The life of layers, as the main thread directs it: built by worker threads, published and deleted
 * under one lock.
 *
 * Building takes no lock, so several layers are built at once and may find the same new content;
 * publishing looks every chunk up again, keeps the first copy and drops the other. A chunk that was
 * deleted while a layer that wants it was built makes the build start again.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import type { ConvertedLayer, LayerMounts, LayerStore } from "../snapshot/contract.ts";
import type { BlockRange } from "../store/layout.ts";
import type { PackAllocator, Reservation } from "../store/pack-allocator.ts";
import type { PublishedLayer } from "../store/publish.ts";
import type { Logger } from "../util/logger.ts";
import { Mutex } from "../util/mutex.ts";
import type { WorkerPool, WorkerThread } from "../workers.ts";

/** Content that vanishes during a build three times in a row is no coincidence. */
const attemptsMax = 3;
/** After this time released layers that were in use are looked at again. */
const retryMs = 30_000;

export interface ConversionCounts {
  done: number;
  failed: number;
  running: number;
  /** Wall time of all finished conversions. */
  seconds: number;
}

export interface LayerStoreOptions {
  readonly builders: WorkerPool;
  readonly housekeeper: WorkerPool;
  readonly allocator: PackAllocator;
  readonly mounts: LayerMounts;
  /** Whether a snapshot refers to the layer. */
  readonly isReferenced: (layerId: number) => boolean;
  readonly isPackEmpty: (packId: number) => boolean;
  readonly log: Logger;
}

export class NodeLayerStore implements LayerStore {
  readonly counts: ConversionCounts = { done: 0, failed: 0, running: 0, seconds: 0 };
  readonly #options: LayerStoreOptions;
  /** Serialises all that changes the index. */
  readonly #lock = new Mutex();
  readonly #protected = new Map<number, number>();
  readonly #reservations = new Map<number, Reservation>();
  /** Released, but not deleted yet: somebody still has them. */
  readonly #unreleased = new Set<number>();
  #retry: Timer | undefined;
  #nextJob = 1;

  constructor(options: LayerStoreOptions) {
    this.#options = options;
  }

  async convert(directory: string, label: string): Promise<ConvertedLayer> {
    const start = performance.now();
    this.counts.running += 1;
    try {
      const layer = await this.#convertWithRetry(directory, label);
      this.counts.done += 1;
      return layer;
    } catch (error) {
      this.counts.failed += 1;
      throw error;
    } finally {
      this.counts.running -= 1;
      this.counts.seconds += (performance.now() - start) / 1000;
    }
  }

  settle(layerId: number): void {
    const count = (this.#protected.get(layerId) ?? 0) - 1;
    if (count > 0) this.#protected.set(layerId, count);
    else this.#protected.delete(layerId);
  }

  async release(layerIds: readonly number[]): Promise<void> {
    for (const layerId of layerIds) this.#unreleased.add(layerId);
    await this.#lock.run(() => this.#deleteUnused());
    if (this.#unreleased.size === 0) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.release([]), retryMs);
    this.#retry.unref();
  }

  /** Answers a builder's request for blocks; a handler of the worker pool. */
  readonly reserve = (request: { job: number; count: number }): Promise<number> => {
    const reservation = this.#reservations.get(request.job);
    if (reservation === undefined) throw new AppError("internal", `No job ${request.job}`);
    return this.#options.allocator.reserve(reservation, request.count);
  };

  /** Deletes what can be deleted of what was released; the rest waits for the next time. */
  async #deleteUnused(): Promise<void> {
    const { housekeeper, allocator, isReferenced, isPackEmpty, log } = this.#options;
    const unmounted: number[] = [];
    for (const layerId of this.#unreleased) {
      if (this.#protected.has(layerId)) continue;
      if (isReferenced(layerId)) this.#unreleased.delete(layerId);
      else if (await this.#unmount(layerId)) unmounted.push(layerId);
    }
    if (unmounted.length === 0) return;
    try {
      const inUse = new Set(await housekeeper.call<number[]>("deleteLayers", unmounted));
      for (const layerId of unmounted) if (!inUse.has(layerId)) this.#unreleased.delete(layerId);
      if (inUse.size > 0) log.warn({ layers: [...inUse] }, "layers wait: their images are in use");
      await allocator.deleteEmpty(isPackEmpty);
    } catch (error) {
      log.error({ layers: unmounted, reason: describeError(error) }, "cannot delete layers");
    }
  }

  async #unmount(layerId: number): Promise<boolean> {
    try {
      await this.#options.mounts.evict(layerId);
      return true;
    } catch (error) {
      this.#options.log.warn({ layerId, reason: describeError(error) }, "a layer stays mounted");
      return false;
    }
  }

  async #convertWithRetry(directory: string, label: string): Promise<ConvertedLayer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#options.builders.use((thread) => this.#convertOnce(thread, directory));
      } catch (error) {
        const isTransient = error instanceof AppError && error.code === "unavailable";
        if (!isTransient || attempt === attemptsMax) throw error;
        const fields = { layer: label, reason: describeError(error) };
        this.#options.log.info(fields, `building layer ${label} again`);
      }
    }
  }

  async #convertOnce(thread: WorkerThread, directory: string): Promise<ConvertedLayer> {
    const { allocator } = this.#options;
    const job = this.#nextJob++;
    const reservation = allocator.begin();
    this.#reservations.set(job, reservation);
    let keepsAll = false;
    try {
      await thread.call("build", { job, directory });
      const published = await this.#lock.run(() => this.#publish(thread, job));
      keepsAll = published.unneededChunks === 0;
      if (published.restoredChunks > 0) {
        const fields = { chunks: published.restoredChunks };
        this.#options.log.error(fields, "packs had lost content, it was written again");
      }
      const { layerId, addedBytes, inodes, reused } = published;
      return { layerId, addedBytes, inodes, reused };
    } finally {
      if (!keepsAll) await this.#discard(thread, reservation.ranges);
      this.#reservations.delete(job);
      allocator.end(reservation);
    }
  }

  async #publish(thread: WorkerThread, job: number): Promise<PublishedLayer> {
    const published = await thread.call<PublishedLayer>("publish", job);
    this.#protected.set(published.layerId, (this.#protected.get(published.layerId) ?? 0) + 1);
    return published;
  }

  /** Frees what was written and is in no index; what fails here, the next start finds. */
  async #discard(thread: WorkerThread, ranges: readonly BlockRange[]): Promise<void> {
    try {
      await thread.call("discard", ranges);
    } catch (error) {
      this.#options.log.error({ reason: describeError(error) }, "cannot free unneeded blocks");
    }
  }
}

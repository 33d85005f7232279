/**
 * What removed snapshots leave behind, deleted in the background one after the other: images that
 * no snapshot refers to any more, and directories.
 *
 * Nothing here fails a request. What could not be deleted is logged, and found again by Cleanup
 * (directories) or at the next start (images).
 *
 * @module
 */
import type { Logger } from "../util/logger.ts";
import type { LayerStore } from "./contract.ts";
import type { SnapshotDirectories } from "./directories.ts";
import { reasonField } from "./failures.ts";

export interface RemovalQueueOptions {
  readonly directories: SnapshotDirectories;
  readonly layerStore: Pick<LayerStore, "release">;
  readonly isLayerReferenced: (layerId: number) => boolean;
  readonly log: Logger;
}

export class RemovalQueue {
  readonly #options: RemovalQueueOptions;
  readonly #layerIds = new Set<number>();
  readonly #names = new Set<string>();
  #running: Promise<void> | undefined;

  constructor(options: RemovalQueueOptions) {
    this.#options = options;
  }

  /** Releases the layer, unless a snapshot refers to it by then. */
  addLayer(layerId: number): void {
    this.#layerIds.add(layerId);
    this.#running ??= this.#run();
  }

  /** @param name in the folder of snapshots */
  addDirectory(name: number | string): void {
    this.#names.add(String(name));
    this.#running ??= this.#run();
  }

  /** Resolves when nothing is left to delete. */
  async idle(): Promise<void> {
    await this.#running;
  }

  get #hasWork(): boolean {
    return this.#layerIds.size > 0 || this.#names.size > 0;
  }

  async #run(): Promise<void> {
    // The caller goes on first: a removal answers before its deletion starts.
    await Promise.resolve();
    while (this.#hasWork) {
      await this.#releaseLayers();
      await this.#removeDirectory();
      if (!this.#hasWork) await this.#retryLayers();
    }
    this.#running = undefined;
  }

  /** All at once, because deleting one costs the layer store a lock, as does deleting many. */
  async #releaseLayers(): Promise<void> {
    const { layerStore, isLayerReferenced, log } = this.#options;
    const layerIds = [...this.#layerIds];
    this.#layerIds.clear();
    try {
      const dead = layerIds.filter((layerId) => !isLayerReferenced(layerId));
      if (dead.length > 0) await layerStore.release(dead);
    } catch (error) {
      log.warn({ layerIds, ...reasonField(error) }, "cannot delete layers");
    }
  }

  /** A removed snapshot may have been the last user of a layer that was given up before. */
  async #retryLayers(): Promise<void> {
    const { layerStore, log } = this.#options;
    try {
      await layerStore.release([]);
    } catch (error) {
      log.warn(reasonField(error), "cannot delete layers");
    }
  }

  async #removeDirectory(): Promise<void> {
    const { directories, log } = this.#options;
    const [name] = this.#names;
    if (name === undefined) return;
    this.#names.delete(name);
    try {
      await directories.remove(name);
    } catch (error) {
      log.warn({ directory: name, ...reasonField(error) }, "cannot delete a directory");
    }
  }
}

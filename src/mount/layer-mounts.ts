/**
 * Keeps layers mounted, each at most once, as long as somebody holds them.
 *
 * What is done to one layer is done under its lock, one thing after the other; who holds it is
 * noted at once, outside the lock. Each step looks at the holders when its turn comes, so an
 * acquire that arrives while the layer is being unmounted mounts it again right after.
 *
 * A layer that nobody holds stays mounted for a while: containers come and go, and with the mount
 * goes the page cache of its files.
 *
 * @module
 */
import { mkdirSync, readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { AppError, describeError } from "../errors.ts";
import type { LayerMounts } from "../snapshot/contract.ts";
import { KeyedMutex } from "../util/keyed-mutex.ts";
import type { Logger } from "../util/logger.ts";
import { findMountedLayers } from "./adoption.ts";
import type { ImageFiles, MountDriver, MountMethod } from "./contract.ts";
import type { MountEntry } from "./mountinfo.ts";

export interface LayerMountsOptions {
  /** Holds a directory per mounted layer and nothing else; absolute. */
  readonly directory: string;
  readonly driver: MountDriver;
  /** How `driver` mounts; for `counts`. */
  readonly method: MountMethod;
  /** Asked right before a layer is mounted; may have to make the content readable first. */
  readonly source: (layerId: number) => ImageFiles | Promise<ImageFiles>;
  /** How long a layer stays mounted that nobody holds. */
  readonly idleMs: number;
  readonly log?: Logger;
}

export interface AdoptionReport {
  /** Mounted by an earlier run, in use, and kept. */
  readonly adopted: readonly number[];
  /** In use but not mounted, as after a reboot; `acquire` mounts them. */
  readonly missing: readonly number[];
}

interface Layer {
  readonly holders: Set<string>;
  /** Undefined while not mounted. */
  mountedBy?: MountMethod | undefined;
  /** Runs while nobody holds the layer. */
  idleTimer?: Timer | undefined;
}

export class NodeLayerMounts implements LayerMounts {
  readonly #options: LayerMountsOptions;
  readonly #layers = new Map<number, Layer>();
  readonly #locks = new KeyedMutex();
  #isShutDown = false;

  constructor(options: LayerMountsOptions) {
    this.#options = options;
  }

  directory(layerId: number): string {
    return join(this.#options.directory, `${layerId}`);
  }

  /** Calls for the same holder must not overlap. On failure it holds what it held before. */
  async acquire(holder: string, layerIds: readonly number[]): Promise<void> {
    if (this.#isShutDown) throw new AppError("unavailable", "The daemon is shutting down");
    const wanted = [...new Set(layerIds)];
    const taken = wanted.filter((layerId) => this.#hold(layerId, holder));
    const results = await Promise.allSettled(wanted.map((layerId) => this.#mount(layerId)));
    const failure = results.find((result) => result.status === "rejected");
    if (failure === undefined) return;
    for (const layerId of taken) this.#drop(layerId, holder);
    throw failure.reason;
  }

  release(holder: string): void {
    for (const [layerId, layer] of this.#layers) {
      if (layer.holders.has(holder)) this.#drop(layerId, holder);
    }
  }

  /**
   * Rejects with `failed_precondition` while the layer is held or a process uses the mount: what
   * the image refers to must not be deleted then.
   */
  async evict(layerId: number): Promise<void> {
    if (await this.#unmountUnlessHeld(layerId)) return;
    throw new AppError("failed_precondition", `Layer ${layerId} is in use`);
  }

  /**
   * Takes over what an earlier run left mounted; call once, before anything else. What is in use
   * stays mounted and gets its holders back, all else in the directory is unmounted and removed.
   *
   * @param entries the mounts of this process
   * @param layersInUse holders by layer
   */
  async adopt(
    entries: readonly MountEntry[],
    layersInUse: ReadonlyMap<number, Iterable<string>>,
  ): Promise<AdoptionReport> {
    const { directory } = this.#options;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const mounted = findMountedLayers(entries, realpathSync(directory));
    const adopted: number[] = [];
    const missing: number[] = [];
    for (const [layerId, holders] of layersInUse) {
      const mountedBy = mounted.get(layerId);
      if (mountedBy === undefined) {
        missing.push(layerId);
        continue;
      }
      this.#layers.set(layerId, { holders: new Set(holders), mountedBy });
      adopted.push(layerId);
    }
    const kept = new Set(adopted.map((layerId) => `${layerId}`));
    const strays = readdirSync(directory).filter((name) => !kept.has(name));
    await Promise.all(strays.map((name) => this.#removeStray(join(directory, name))));
    return { adopted, missing };
  }

  /**
   * Unmounts all that nobody holds. The rest stays mounted: containers run on while the daemon is
   * restarted, and the next run adopts it.
   */
  async shutdown(): Promise<void> {
    this.#isShutDown = true;
    const layerIds = [...this.#layers.keys()];
    await Promise.all(layerIds.map((layerId) => this.#unmountIdle(layerId)));
    for (const layer of this.#layers.values()) stopTimer(layer);
  }

  /** How many layers are mounted, by method. */
  counts(): Record<MountMethod, number> {
    const counts = { file: 0, loop: 0 };
    for (const { mountedBy } of this.#layers.values()) {
      if (mountedBy !== undefined) counts[mountedBy] += 1;
    }
    return counts;
  }

  /** @returns false if the holder had the layer already */
  #hold(layerId: number, holder: string): boolean {
    let layer = this.#layers.get(layerId);
    if (layer === undefined) {
      layer = { holders: new Set() };
      this.#layers.set(layerId, layer);
    }
    stopTimer(layer);
    if (layer.holders.has(holder)) return false;
    layer.holders.add(holder);
    return true;
  }

  #drop(layerId: number, holder: string): void {
    this.#layers.get(layerId)?.holders.delete(holder);
    this.#startTimer(layerId);
  }

  #startTimer(layerId: number): void {
    const layer = this.#layers.get(layerId);
    if (layer === undefined || layer.holders.size > 0 || this.#isShutDown) return;
    stopTimer(layer);
    layer.idleTimer = setTimeout(() => void this.#unmountIdle(layerId), this.#options.idleMs);
    layer.idleTimer.unref();
  }

  #mount(layerId: number): Promise<void> {
    return this.#locks.run([`${layerId}`], async () => {
      const layer = this.#layers.get(layerId);
      const isWanted = layer !== undefined && layer.holders.size > 0;
      if (!isWanted || layer.mountedBy !== undefined) return;
      const { driver, method, source } = this.#options;
      await driver.mount(await source(layerId), this.directory(layerId));
      layer.mountedBy = method;
    });
  }

  /** @returns false if the layer is held; true if it is not mounted, now or before */
  async #unmountUnlessHeld(layerId: number): Promise<boolean> {
    // Before the lock: who mounts the layer may have to wait long for its content.
    if ((this.#layers.get(layerId)?.holders.size ?? 0) > 0) return false;
    return this.#locks.run([`${layerId}`], async () => {
      const layer = this.#layers.get(layerId);
      if (layer === undefined) return true;
      if (layer.holders.size > 0) return false;
      stopTimer(layer);
      try {
        if (layer.mountedBy !== undefined)
          await this.#options.driver.unmount(this.directory(layerId));
      } catch (error) {
        this.#startTimer(layerId);
        throw error;
      }
      layer.mountedBy = undefined;
      if (layer.holders.size === 0) this.#layers.delete(layerId);
      return true;
    });
  }

  async #unmountIdle(layerId: number): Promise<void> {
    try {
      await this.#unmountUnlessHeld(layerId);
    } catch (error) {
      const fields = { layerId, reason: describeError(error) };
      this.#options.log?.warn(fields, `layer ${layerId} stays mounted`);
    }
  }

  async #removeStray(target: string): Promise<void> {
    try {
      await this.#options.driver.unmount(target);
    } catch (error) {
      const fields = { target, reason: describeError(error) };
      this.#options.log?.warn(fields, "a mount that nothing needs stays");
    }
  }
}

function stopTimer(layer: Layer): void {
  clearTimeout(layer.idleTimer);
  layer.idleTimer = undefined;
}

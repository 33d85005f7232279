/**
 * Work in the background on what is stored: compaction of mostly dead bundles, and recompressing
 * what earlier settings have left.
 *
 * Both are the same work, building layers anew one after the other, and differ in which. Whatever
 * ends it, nothing is half done: each layer is either as it was or new, and what is left to do is
 * in the index. A layer that fails is left as it is, and none is built twice in a run.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import type { Compaction } from "../store/compaction.ts";
import type { Encoding } from "../store/index-database.ts";
import type { OutdatedLayer } from "../store/stale-chunks.ts";
import type { Logger } from "../util/logger.ts";
import type { WorkerPool } from "../workers.ts";
import type { NodeLayerStore } from "./layer-store.ts";
import type { Pacer } from "./pacer.ts";

export type MaintenanceTask = "recompress" | "compact";

/** Of the run that is going on, or of the last one since the start. Names as in the JSON. */
export interface RunProgress {
  layers_done: number;
  layers_failed: number;
  layers_left: number;
  /** On disk: content and images. */
  written_bytes: number;
  /** Why layers failed, or the run ended early: the last reason. */
  problem: string | null;
}

export interface MaintenanceStatus {
  readonly running: MaintenanceTask | null;
  /** Recompressing was asked for, and runs or waits for its turn. */
  readonly wanted: boolean;
  readonly recompress: RunProgress;
  readonly compact: RunProgress;
}

/** What a run would do. */
export interface MaintenancePlan {
  readonly layers: number;
  /** Of content in files, that would be read. */
  readonly content_bytes: number;
}

export interface MaintenanceOptions {
  readonly layers: Pick<NodeLayerStore, "rewrite" | "exclusively">;
  readonly housekeeper: Pick<WorkerPool, "call">;
  readonly pacer: Pacer;
  /** What new content is compressed with. */
  readonly setting: Encoding;
  /** Whether a snapshot refers to the layer. */
  readonly isReferenced: (layerId: number) => boolean;
  /** Whether there is content that is to be stored anew. */
  readonly hasStale: () => boolean;
  /** Undefined: bundles are never compacted. */
  readonly compactionDelayMs: number | undefined;
  /** Whether recompressing was asked for and has not ended; outlives a restart. */
  readonly memory: { isWanted: boolean };
  readonly log: Logger;
}

/** A layer that is being pulled, or has content that comes and goes, is tried so often in a run. */
const attemptsMax = 3;

function noProgress(): RunProgress {
  return { layers_done: 0, layers_failed: 0, layers_left: 0, written_bytes: 0, problem: null };
}

export class Maintenance {
  readonly #options: MaintenanceOptions;
  #task: MaintenanceTask | null = null;
  readonly #progress: Record<MaintenanceTask, RunProgress> = {
    recompress: noProgress(),
    compact: noProgress(),
  };
  #running: Promise<void> | undefined;
  #isCompactionDue = false;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(options: MaintenanceOptions) {
    this.#options = options;
  }

  /** Goes on with what the last run of the daemon did not finish, or did not begin. */
  start(): void {
    this.#isCompactionDue = this.#options.hasStale();
    this.#wake();
    this.compactLater();
  }

  /** Layers were deleted, or content was lost: it is looked at, all together, after a while. */
  readonly compactLater = (): void => {
    const { compactionDelayMs } = this.#options;
    if (compactionDelayMs === undefined || this.#timer !== undefined || this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#isCompactionDue = true;
      this.#wake();
    }, compactionDelayMs);
    this.#timer.unref();
  };

  /** Starts, or goes on with, rewriting all that the current setting would store otherwise. */
  recompress(): MaintenanceStatus {
    this.#options.memory.isWanted = true;
    this.#wake();
    return this.status();
  }

  /** Gives up recompressing; what is done stays done. */
  async cancel(): Promise<MaintenanceStatus> {
    this.#options.memory.isWanted = false;
    if (this.#task === "recompress") await this.#interrupt();
    this.#wake();
    return this.status();
  }

  status(): MaintenanceStatus {
    return {
      running: this.#task,
      wanted: this.#options.memory.isWanted,
      recompress: { ...this.#progress.recompress },
      compact: { ...this.#progress.compact },
    };
  }

  /** What `recompress` would do. */
  async plan(): Promise<MaintenancePlan> {
    const layers = await this.#outdated("recompress");
    return { layers: layers.length, content_bytes: sumOf(layers) };
  }

  /** Interrupts what is going on; the next start goes on with it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#interrupt();
  }

  async #interrupt(): Promise<void> {
    this.#options.pacer.cancel();
    await this.#running;
  }

  #wake(): void {
    if (this.#running !== undefined || this.#isClosed) return;
    this.#task = this.#nextTask();
    if (this.#task === null) return;
    this.#options.pacer.reset();
    this.#running = this.#run(this.#task).then(() => {
      this.#running = undefined;
      this.#task = null;
      this.#wake();
    });
  }

  #nextTask(): MaintenanceTask | null {
    if (this.#options.memory.isWanted) return "recompress";
    return this.#isCompactionDue ? "compact" : null;
  }

  /** Never rejects. */
  async #run(task: MaintenanceTask): Promise<void> {
    const { log } = this.#options;
    if (task === "compact") this.#isCompactionDue = false;
    try {
      if (task === "compact") await this.#condemn();
      await this.#rewriteAll(task);
    } catch (error) {
      // The wish stays at the end of the daemon; whoever cancels has taken it back already.
      if (error instanceof AppError && error.code === "cancelled") return;
      this.#progress[task].problem = describeError(error);
      log.warn({ task, reason: describeError(error) }, "work in the background ends early");
    }
    if (task === "recompress") this.#forgetWish();
  }

  #forgetWish(): void {
    const { log, memory } = this.#options;
    try {
      memory.isWanted = false;
    } catch (error) {
      // What is still wanted would begin again at once, and without end; the next start does.
      this.#isClosed = true;
      log.error({ reason: describeError(error) }, "no work in the background until the next start");
    }
  }

  async #condemn(): Promise<void> {
    const { layers, housekeeper, setting, compactionDelayMs, log } = this.#options;
    if (setting === 0 || compactionDelayMs === undefined) return;
    const found = await layers.exclusively(() =>
      housekeeper.call<Compaction>("condemnBundles", setting),
    );
    if (found.bundles > 0) log.info({ ...found }, "compacting mostly dead bundles");
  }

  /** Until there is nothing that was not tried; layers that came meanwhile have their turn, too. */
  async #rewriteAll(task: MaintenanceTask): Promise<void> {
    const attempts = new Map<number, number>();
    for (;;) {
      const outdated = (await this.#outdated(task)).map(({ layer }) => layer);
      const left = outdated.filter((layer) => (attempts.get(layer) ?? 0) < attemptsMax);
      // Many compactions find nothing to do: what the last one did stays to be seen.
      const isFirst = attempts.size === 0 && (left.length > 0 || task === "recompress");
      if (isFirst) this.#progress[task] = noProgress();
      if (left.length === 0) return;
      for (const [index, layerId] of left.entries()) {
        this.#progress[task].layers_left = left.length - index;
        attempts.set(layerId, (attempts.get(layerId) ?? 0) + 1);
        // Asks for its turn also where nothing is to be read or written.
        await this.#options.pacer.pace(0);
        for (const done of await this.#rewrite(layerId, task)) attempts.set(done, attemptsMax);
      }
      this.#progress[task].layers_left = 0;
    }
  }

  /** The layers that need not be tried in this run again. */
  async #rewrite(layerId: number, task: MaintenanceTask): Promise<readonly number[]> {
    const { layers, log } = this.#options;
    const progress = this.#progress[task];
    try {
      const layer = await layers.rewrite({ layerId, recompresses: task === "recompress" });
      if (layer === undefined) return [layerId];
      progress.layers_done += 1;
      progress.written_bytes += layer.addedBytes;
      const fields = { task, layerId, newLayerId: layer.layerId, addedBytes: layer.addedBytes };
      log.info(fields, `layer ${layerId} is rewritten`);
      return [layerId, layer.layerId];
    } catch (error) {
      if (endsRun(error)) throw error;
      const fields = { task, layerId, reason: describeError(error) };
      log.warn(fields, `layer ${layerId} cannot be rewritten`);
      if (error instanceof AppError && error.code === "unavailable") return [];
      progress.layers_failed += 1;
      progress.problem = describeError(error);
      return [layerId];
    }
  }

  /** Without those that were replaced already and wait for the end of a container. */
  async #outdated(task: MaintenanceTask): Promise<OutdatedLayer[]> {
    const { housekeeper, setting, isReferenced } = this.#options;
    const request = { setting: task === "recompress" ? setting : undefined };
    const layers = await housekeeper.call<OutdatedLayer[]>("outdatedLayers", request);
    return layers.filter(({ layer }) => isReferenced(layer));
  }
}

/** Other layers would fail for the same reason. */
function endsRun(error: unknown): boolean {
  return (
    error instanceof AppError && (error.code === "cancelled" || error.code === "resource_exhausted")
  );
}

function sumOf(layers: readonly OutdatedLayer[]): number {
  return layers.reduce((sum, { bytes }) => sum + bytes, 0);
}

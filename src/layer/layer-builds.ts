/**
 * Has layers built by worker threads and publishes them, under the lock of the store.
 *
 * Building takes no lock, so several layers are built at once and may find the same new content;
 * publishing looks every chunk up again, keeps the first copy and drops the other. A chunk that was
 * deleted while a layer that wants it was built makes the build start again.
 *
 * @module
 */
import { AppError, describeError, type ErrorCode } from "../errors.ts";
import type { ConvertedLayer } from "../snapshot/contract.ts";
import type { BlockRange } from "../store/layout.ts";
import type { PackAllocator, Reservation } from "../store/pack-allocator.ts";
import type { PublishedLayer } from "../store/publish.ts";
import { defined } from "../util/assert.ts";
import type { Logger } from "../util/logger.ts";
import type { Mutex } from "../util/mutex.ts";
import type { WorkerPool, WorkerThread } from "../workers.ts";

/** Content that vanishes during a build three times in a row is no coincidence. */
const attemptsMax = 3;

export interface ConversionCounts {
  done: number;
  failed: number;
  /** Layers that were there already, found by the digest of their blob. */
  skipped: number;
  running: number;
  /** Wall time of all finished conversions. */
  seconds: number;
}

/** Has a layer built by a worker thread, which keeps it under the number of the job. */
export type StartBuild<Result> = (thread: WorkerThread, job: number) => Promise<Result>;

export interface Built<Result> {
  readonly layer: ConvertedLayer;
  readonly result: Result;
}

export interface LayerBuildsOptions {
  readonly lock: Mutex;
  readonly allocator: PackAllocator;
  readonly builders: WorkerPool;
  /** What they fail at is tried again when somebody waits for it. */
  readonly earlyBuilders: WorkerPool;
  /** Keeps a layer from being deleted, whether or not a snapshot refers to it. */
  readonly protect: (layerId: number) => void;
  /** Content was found lost: there may be something to store anew. */
  readonly onOutdated: () => void;
  /** Nothing is built any more, for now. */
  readonly onIdle: () => void;
  readonly log: Logger;
}

export class LayerBuilds {
  readonly counts: ConversionCounts = { done: 0, failed: 0, skipped: 0, running: 0, seconds: 0 };
  readonly #options: LayerBuildsOptions;
  readonly #reservations = new Map<number, Reservation>();
  #nextJob = 1;

  constructor(options: LayerBuildsOptions) {
    this.#options = options;
  }

  /** A number that no other job has. */
  nextJob(): number {
    return this.#nextJob++;
  }

  /** Counts and times a build. */
  async build<Result>(
    label: string,
    start: StartBuild<Result>,
    pool = this.#options.builders,
  ): Promise<Built<Result>> {
    const startMs = performance.now();
    this.counts.running += 1;
    try {
      const built = await this.buildQuietly(label, start, pool);
      this.counts.done += 1;
      return built;
    } catch (error) {
      const isPostponed = error instanceof AppError && error.code === "failed_precondition";
      const isEarly = pool === this.#options.earlyBuilders;
      if (!isPostponed && !isEarly) this.counts.failed += 1;
      throw error;
    } finally {
      this.counts.running -= 1;
      this.counts.seconds += (performance.now() - startMs) / 1000;
      if (this.counts.running === 0) this.#options.onIdle();
    }
  }

  /** Builds again where content has vanished meanwhile. The layer is protected. */
  async buildQuietly<Result>(
    label: string,
    start: StartBuild<Result>,
    pool: WorkerPool,
  ): Promise<Built<Result>> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await pool.use((thread) => this.#buildOnce(thread, start));
      } catch (error) {
        const isTransient = error instanceof AppError && error.code === "unavailable";
        if (!isTransient || attempt === attemptsMax) throw error;
        const fields = { layer: label, reason: describeError(error) };
        this.#options.log.info(fields, `building layer ${label} again`);
      }
    }
  }

  /** Answers a builder's request for blocks; a handler of the worker pool. */
  readonly reserve = (request: { job: number; count: number }): Promise<number> =>
    this.#options.allocator.reserve(this.#reservationOf(request.job), request.count);

  /** Answers a builder's request for a lazy pack; a handler of the worker pool. */
  readonly createLazyPack = (request: { job: number; contentBytes: number }): Promise<number> =>
    this.#options.allocator.createLazyPack(this.#reservationOf(request.job), request.contentBytes);

  #reservationOf(job: number): Reservation {
    return defined(this.#reservations.get(job), `the reservation of job ${job}`);
  }

  async #buildOnce<Result>(
    thread: WorkerThread,
    start: StartBuild<Result>,
  ): Promise<Built<Result>> {
    const { allocator, lock } = this.#options;
    const job = this.nextJob();
    const reservation = allocator.begin();
    this.#reservations.set(job, reservation);
    let published: PublishedLayer | undefined;
    try {
      const result = await start(thread, job);
      published = await lock.run(() => this.#publish(thread, job));
      this.#report(published);
      const { layerId, addedBytes, inodes, reused } = published;
      return { layer: { layerId, addedBytes, inodes, reused }, result };
    } finally {
      if (published?.unneededChunks !== 0) await this.#discard(thread, reservation.ranges);
      this.#reservations.delete(job);
      allocator.end(reservation);
      await allocator.dropLazyPack(reservation, published?.lazyPack);
    }
  }

  async #publish(thread: WorkerThread, job: number): Promise<PublishedLayer> {
    try {
      const published = await thread.call<PublishedLayer>("publish", job);
      this.#options.protect(published.layerId);
      return published;
    } catch (error) {
      throw publishFailure(error);
    }
  }

  #report({ layerId, restoredChunks, isImageRestored }: PublishedLayer): void {
    const { log, onOutdated } = this.#options;
    if (restoredChunks > 0) {
      const fields = { chunks: restoredChunks };
      log.error(fields, "packs had lost content, it was written again");
      onOutdated();
    }
    if (isImageRestored) log.error({ layerId }, "an image was damaged, it was written again");
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

/** Content that vanished, for which the layer is built again; a full disk, which helps nobody. */
const passedOn: ReadonlySet<ErrorCode> = new Set(["unavailable", "resource_exhausted"]);

/** The layer was read whole and is right: what we cannot keep of it, somebody else may. */
function publishFailure(error: unknown): unknown {
  if (error instanceof AppError && passedOn.has(error.code)) return error;
  const problem = `Cannot publish the layer: ${describeError(error)}`;
  return new AppError("unimplemented", problem, { cause: error });
}

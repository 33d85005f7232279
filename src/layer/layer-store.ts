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
import type {
  AppliedBlob,
  BlobLayer,
  BlobNote,
  ConvertedLayer,
  LayerBase,
  LayerBlob,
  LayerStore,
} from "../snapshot/contract.ts";
import type { BlobKey, KnownLayer } from "../store/layer-blobs.ts";
import type { BlockRange } from "../store/layout.ts";
import type { Reservation } from "../store/pack-allocator.ts";
import type { PublishedLayer } from "../store/publish.ts";
import { KeyedMutex } from "../util/keyed-mutex.ts";
import { Mutex } from "../util/mutex.ts";
import type { WorkerPool, WorkerThread } from "../workers.ts";
import { type BlobRead, BlobReads, type DownloadedBlob, refuseCancelled } from "./blob-reads.ts";
import { EarlyBuilds, type EarlyCounts } from "./early-builds.ts";
import { LayerDeleter, type LayerDeleterOptions } from "./layer-deleter.ts";
import type { RewriteRequest } from "./rewrite.ts";

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

export interface LayerStoreOptions extends Omit<LayerDeleterOptions, "lock" | "isProtected"> {
  readonly builders: WorkerPool;
  /** Builds layers whose blobs are being downloaded, beside those that somebody waits for. */
  readonly earlyBuilders: WorkerPool;
  /** Builds layers anew in the background, beside conversions. */
  readonly rewriter: WorkerPool;
  /** Gives all snapshots of a layer another one; resolves when that is durable. */
  readonly moveSnapshots: (from: number, to: number) => Promise<void>;
  readonly findBlob: (key: BlobKey) => KnownLayer | undefined;
}

/** Has a layer built by a worker thread, which keeps it under the number of the job. */
type StartBuild<Result> = (thread: WorkerThread, job: number) => Promise<Result>;

interface Built<Result> {
  readonly layer: ConvertedLayer;
  readonly result: Result;
}

export class NodeLayerStore implements LayerStore {
  readonly counts: ConversionCounts = {
    done: 0,
    failed: 0,
    skipped: 0,
    running: 0,
    seconds: 0,
  };
  readonly #options: LayerStoreOptions;
  /** Serialises all that changes the index. */
  readonly #lock = new Mutex();
  readonly #protected = new Map<number, number>();
  readonly #reservations = new Map<number, Reservation>();
  readonly #blobReads = new BlobReads();
  readonly #blobLocks = new KeyedMutex();
  readonly #deleter: LayerDeleter;
  readonly #early: EarlyBuilds;
  /** What the last layer's root directory is by itself: that of the next is likely the same. */
  #lastRoot: LayerBase["root"] = { mode: 0o40755, uid: 0, gid: 0 };
  #nextJob = 1;

  constructor(options: LayerStoreOptions) {
    this.#options = options;
    const isProtected = (layerId: number) => this.#protected.has(layerId);
    this.#deleter = new LayerDeleter({ ...options, lock: this.#lock, isProtected });
    this.#early = new EarlyBuilds({
      workers: options.builders.threadsMax,
      isKnown: (blob) => options.findBlob(keyOf(blob, this.#earlyBase)) !== undefined,
      build: (blob, signal) => this.#buildEarly(blob, signal),
      end: (layerId, isUsed) => {
        this.settle(layerId);
        if (!isUsed) void this.release([layerId]);
      },
      log: options.log,
    });
  }

  get earlyCounts(): EarlyCounts {
    return this.#early.counts;
  }

  async convert(directory: string, label: string): Promise<ConvertedLayer> {
    this.#early.standDown();
    const start: StartBuild<void> = (thread, job) =>
      thread.call("buildFromDirectory", { job, directory });
    const { layer } = await this.#build(label, start, this.#options.builders);
    return layer;
  }

  async apply(blob: LayerBlob, base: LayerBase, signal: AbortSignal): Promise<BlobLayer> {
    const key = keyOf(blob, base);
    this.#lastRoot = base.root;
    using early = this.#early.claim(blob.digest, signal);
    // One at a time: whoever comes second finds what the first has built.
    return await this.#blobLocks.run([blob.digest], async () => {
      const built = await early.layer;
      refuseCancelled(blob, signal);
      const known = await this.#findKnown(key);
      if (known === undefined) return await this.#applyNew(blob, base, key, signal);
      if (known.layerId !== built?.layerId) return this.#reuse(key, known);
      early.take();
      return built;
    });
  }

  /**
   * Has the layer of a blob built that containerd is downloading, in the hope for its `apply`.
   *
   * @param file what of the blob is there
   */
  applyEarly(blob: LayerBlob, file: string): void {
    this.#early.offer(blob, file);
  }

  /** What lies below is known only when the blob is applied. */
  get #earlyBase(): LayerBase {
    return { root: this.#lastRoot, lower: "unknown" };
  }

  #buildEarly(blob: DownloadedBlob, signal: AbortSignal): Promise<BlobLayer> {
    const base = this.#earlyBase;
    const key = keyOf(blob, base);
    return this.#blobLocks.run([blob.digest], async () => {
      const known = await this.#findKnown(key);
      return known ?? (await this.#applyNew(blob, base, key, signal));
    });
  }

  find(blob: BlobNote, base: LayerBase): Promise<BlobLayer | undefined> {
    return this.#findKnown(keyOf(blob, base));
  }

  inspect(blob: LayerBlob, signal: AbortSignal): Promise<AppliedBlob> {
    return this.#options.builders.use((thread) =>
      this.#blobReads.run("inspectBlob", { thread, job: this.#nextJob++, blob, signal }),
    );
  }

  /** Counts and times a build. */
  async #build<Result>(
    label: string,
    start: StartBuild<Result>,
    pool: WorkerPool,
  ): Promise<Built<Result>> {
    const startMs = performance.now();
    this.counts.running += 1;
    try {
      const built = await this.#buildWithRetry(label, start, pool);
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
    }
  }

  settle(layerId: number): void {
    const count = (this.#protected.get(layerId) ?? 0) - 1;
    if (count > 0) this.#protected.set(layerId, count);
    else this.#protected.delete(layerId);
  }

  release(layerIds: readonly number[]): Promise<void> {
    return this.#deleter.release(layerIds);
  }

  /** Deletes what can be deleted by now; the rest the next start finds. */
  async close(): Promise<void> {
    await this.#early.close();
    await this.#deleter.close();
  }

  /** Runs a task while nothing else changes the index. */
  exclusively<Result>(task: () => Promise<Result>): Promise<Result> {
    return this.#lock.run(task);
  }

  /**
   * Builds a layer anew of its own content and gives it to all its snapshots. What is mounted stays
   * as it is: the old image and its content go when nobody has them open any more.
   *
   * @returns undefined where no snapshot refers to the layer
   * @throws AppError `unavailable` where the layer is being pulled just now
   */
  async rewrite(request: RewriteRequest): Promise<ConvertedLayer | undefined> {
    const { layerId } = request;
    const isWanted = await this.#lock.run(() => {
      const isReferenced = this.#options.isReferenced(layerId);
      if (isReferenced) this.#protect(layerId);
      return isReferenced;
    });
    if (!isWanted) return undefined;
    let isSettled = false;
    const start: StartBuild<void> = (thread, job) =>
      thread.call("rewriteLayer", { job, ...request });
    try {
      const { rewriter } = this.#options;
      const { layer } = await this.#buildWithRetry(`${layerId}`, start, rewriter);
      try {
        if (layer.layerId !== layerId) await this.#move(layerId, layer.layerId);
      } finally {
        this.settle(layer.layerId);
        this.settle(layerId);
        isSettled = true;
        await this.release([layerId, layer.layerId]);
      }
      return layer;
    } finally {
      if (!isSettled) this.settle(layerId);
    }
  }

  #move(from: number, to: number): Promise<void> {
    return this.#lock.run(async () => {
      // Somebody is about to give the old one to a snapshot: it would be noted too late.
      if ((this.#protected.get(from) ?? 0) > 1) {
        throw new AppError("unavailable", `Layer ${from} is being pulled`);
      }
      await this.#options.moveSnapshots(from, to);
      await this.#options.housekeeper.call("moveLayerBlobs", { from, to });
    });
  }

  /** Answers a builder's request for blocks; a handler of the worker pool. */
  readonly reserve = (request: { job: number; count: number }): Promise<number> => {
    const reservation = this.#reservations.get(request.job);
    if (reservation === undefined) throw new AppError("internal", `No job ${request.job}`);
    return this.#options.allocator.reserve(reservation, request.count);
  };

  /** Answers a builder that cannot open the file of its blob; a handler of the worker pool. */
  readonly readBlob = (request: BlobRead): Promise<Uint8Array> => this.#blobReads.read(request);

  /** The layer that was made of the same blob before, protected. */
  async #findKnown(key: BlobKey): Promise<BlobLayer | undefined> {
    const known = await this.#lock.run(() => {
      const found = this.#options.findBlob(key);
      if (found !== undefined) this.#protect(found.layer);
      return found;
    });
    if (known === undefined) return undefined;
    const { layer: layerId, inodes, diff_id: diffId, tar_bytes: tarBytes } = known;
    return { layerId, addedBytes: 0, inodes, reused: true, diffId, tarBytes };
  }

  #reuse(key: BlobKey, known: BlobLayer): BlobLayer {
    const message = `layer ${key.digest} already has erofs image, skip conversion`;
    this.#options.log.info({ blob: key.digest, layerId: known.layerId }, message);
    this.counts.skipped += 1;
    return known;
  }

  async #applyNew(
    blob: LayerBlob | DownloadedBlob,
    base: LayerBase,
    key: BlobKey,
    signal: AbortSignal,
  ): Promise<BlobLayer> {
    const { digest } = blob;
    const { log, builders, earlyBuilders } = this.#options;
    log.info({ blob: digest }, `detected new layer ${digest}, auto-converting to EROFS`);
    const start: StartBuild<AppliedBlob> = (thread, job) =>
      this.#blobReads.run("buildFromBlob", { thread, job, blob, signal }, { base, key });
    const pool = "download" in blob ? earlyBuilders : builders;
    const { layer, result } = await this.#build(digest, start, pool);
    const message = layer.reused
      ? `layer ${digest} already has erofs image, skip conversion`
      : `successfully auto-converted layer ${digest}`;
    log.info({ blob: digest, ...layer }, message);
    return { ...layer, ...result };
  }

  #protect(layerId: number): void {
    this.#protected.set(layerId, (this.#protected.get(layerId) ?? 0) + 1);
  }

  async #buildWithRetry<Result>(
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

  async #buildOnce<Result>(
    thread: WorkerThread,
    start: StartBuild<Result>,
  ): Promise<Built<Result>> {
    const { allocator } = this.#options;
    const job = this.#nextJob++;
    const reservation = allocator.begin();
    this.#reservations.set(job, reservation);
    let keepsAll = false;
    try {
      const result = await start(thread, job);
      const published = await this.#lock.run(() => this.#publish(thread, job));
      keepsAll = published.unneededChunks === 0;
      if (published.restoredChunks > 0) {
        const fields = { chunks: published.restoredChunks };
        this.#options.log.error(fields, "packs had lost content, it was written again");
        this.#options.onOutdated();
      }
      const { layerId, addedBytes, inodes, reused } = published;
      if (published.isImageRestored) {
        this.#options.log.error({ layerId }, "an image was damaged, it was written again");
      }
      return { layer: { layerId, addedBytes, inodes, reused }, result };
    } finally {
      if (!keepsAll) await this.#discard(thread, reservation.ranges);
      this.#reservations.delete(job);
      allocator.end(reservation);
    }
  }

  async #publish(thread: WorkerThread, job: number): Promise<PublishedLayer> {
    const published = await thread.call<PublishedLayer>("publish", job);
    this.#protect(published.layerId);
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

/** What decides how the layer turns out, but for what it takes from those below. */
function keyOf({ digest }: BlobNote, { root, lower }: LayerBase): BlobKey {
  const { mode, uid, gid } = root;
  const place = lower.length === 0 ? "first" : "upper";
  return { digest, root: `${mode.toString(8)} ${uid}:${gid}`, place };
}

/**
 * The life of layers, as the main thread directs it: built by worker threads, published and deleted
 * under one lock.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import type {
  AppliedBlob,
  BlobLayer,
  BlobNote,
  ClaimedLayer,
  ConvertedLayer,
  LayerBase,
  LayerBlob,
  LayerStore,
  LazyLayerStore,
  LazyTable,
} from "../snapshot/contract.ts";
import type { BlobKey, KnownLayer } from "../store/layer-blobs.ts";
import type { LazyKey, LazyLayerRow } from "../store/lazy-layers.ts";
import { sha256Digest } from "../util/digest.ts";
import { KeyedMutex } from "../util/keyed-mutex.ts";
import { Mutex } from "../util/mutex.ts";
import type { WorkerPool } from "../workers.ts";
import { type BlobRead, BlobReads, type DownloadedBlob, refuseCancelled } from "./blob-reads.ts";
import { EarlyBuilds, type EarlyCounts } from "./early-builds.ts";
import { type ConversionCounts, LayerBuilds, type StartBuild } from "./layer-builds.ts";
import type { LazyFacts } from "./lazy-build.ts";
import { LayerDeleter, type LayerDeleterOptions } from "./layer-deleter.ts";
import type { RewriteRequest } from "./rewrite.ts";

export interface LayerStoreOptions extends Omit<LayerDeleterOptions, "lock" | "isProtected"> {
  readonly builders: WorkerPool;
  /**
   * Builds layers of tables of contents, which takes no time and should not wait for conversions;
   * the builders do, where it is left out.
   */
  readonly claimers?: WorkerPool;
  /** Builds layers whose blobs are being downloaded, beside those that somebody waits for. */
  readonly earlyBuilders: WorkerPool;
  /** Builds layers anew in the background, beside conversions. */
  readonly rewriter: WorkerPool;
  /** Gives all snapshots of a layer another one; resolves when that is durable. */
  readonly moveSnapshots: (from: number, to: number) => Promise<void>;
  readonly findBlob: (key: BlobKey) => KnownLayer | undefined;
  readonly findLazy: (key: LazyKey) => LazyLayerRow | undefined;
  /** Nothing is built any more, for now. */
  readonly onIdle: () => void;
}

/**
 * Layers that are claimed side by side, as most images have several. Not more: a table may take
 * hundreds of megabytes while it is read (lazy/limits.ts).
 */
export const claimThreadsMax = 2;

/** So many of them wait for the first claim, where there is a standby. */
export const claimThreadsKept = 1;

/** A claimed layer, and how it came out. */
export interface BuiltClaim extends ClaimedLayer {
  /** What was found of its content when it was built; undefined where it was there already. */
  readonly facts: LazyFacts | undefined;
}

export class NodeLayerStore implements LayerStore, LazyLayerStore {
  readonly #options: LayerStoreOptions;
  /** Serialises all that changes the index. */
  readonly #lock = new Mutex();
  readonly #protected = new Map<number, number>();
  readonly #blobReads = new BlobReads();
  readonly #blobLocks = new KeyedMutex();
  readonly #builds: LayerBuilds;
  readonly #deleter: LayerDeleter;
  readonly #early: EarlyBuilds;
  /** What the last layer's root directory is by itself: that of the next is likely the same. */
  #lastRoot: LayerBase["root"] = { mode: 0o40755, uid: 0, gid: 0 };

  constructor(options: LayerStoreOptions) {
    this.#options = options;
    const protect = (layerId: number) => this.#protect(layerId);
    this.#builds = new LayerBuilds({ ...options, lock: this.#lock, protect });
    const isProtected = (layerId: number) => this.#protected.has(layerId);
    this.#deleter = new LayerDeleter({ ...options, lock: this.#lock, isProtected });
    this.#early = new EarlyBuilds({
      workers: options.builders.threadsMax,
      isKnown: (blob) => options.findBlob(keyOf(blob, this.#earlyBase)) !== undefined,
      build: (blob, signal) => this.#buildEarly(blob, signal),
      end: (layerId, isUsed) => {
        this.settle(layerId);
        if (!isUsed) this.#releaseUnused(layerId);
      },
      log: options.log,
    });
  }

  get earlyCounts(): EarlyCounts {
    return this.#early.counts;
  }

  get counts(): ConversionCounts {
    return this.#builds.counts;
  }

  async convert(directory: string, label: string): Promise<ConvertedLayer> {
    this.#early.standDown();
    const { layer } = await this.#builds.build(label, (thread, job) =>
      thread.call<void>("buildFromDirectory", { job, directory }),
    );
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
      this.#blobReads.run("inspectBlob", { thread, job: this.#builds.nextJob(), blob, signal }),
    );
  }

  /** Starts threads, which takes as long as to fetch a table; most images have several layers. */
  expectClaim(threads = claimThreadsMax): void {
    for (let count = 0; count < threads; count++) {
      const started = this.#options.claimers?.use(() => Promise.resolve());
      // A failure is that of the claim, and told there.
      started?.catch(() => undefined);
    }
  }

  /**
   * Makes a layer of a blob's table of contents. Its content is on the node as far as it was
   * before; the rest is to be brought to its pack. Protected as by `apply`.
   *
   * Rejects with `failed_precondition` where the layer must be read as a whole ("not lazy: …"),
   * with `data_loss` for a wrong table, with `cancelled` after `signal`.
   */
  claim(table: LazyTable, base: LayerBase, signal: AbortSignal): Promise<BuiltClaim> {
    const { digest } = table;
    const tocDigest = tocDigestOf(table);
    const key = { ...keyOf(table, base), toc_digest: tocDigest };
    return this.#blobLocks.run([digest], async () => {
      refuseCancelled(table, signal);
      const known = await this.findClaimed(digest, tocDigest, base);
      if (known !== undefined) return known;
      const start: StartBuild<LazyFacts> = (thread, job) =>
        thread.call("buildLazy", { ...table, job, base, key });
      const { claimers, log } = this.#options;
      const { layer, result: facts } = await this.#builds.build(digest, start, claimers);
      const { packId, missingBytes, prefetchEndBytes } = facts;
      const state = missingBytes === 0 ? "complete" : "fetching";
      const lazy = { isLazy: packId !== undefined, packId, state, prefetchEndBytes } as const;
      log.info({ blob: digest, ...layer, ...facts }, `claimed layer ${digest}`);
      return { ...layer, ...lazy, tocDigest, facts };
    });
  }

  /**
   * What `claim` would find without the table: a layer that was made of the whole blob before, or
   * of the table that the image names.
   */
  async findClaimed(
    digest: string,
    tocDigest: string | undefined,
    base: LayerBase,
  ): Promise<BuiltClaim | undefined> {
    const key = keyOf({ digest }, base);
    const reused = { addedBytes: 0, reused: true, facts: undefined };
    const applied = await this.#findKnown(key);
    if (applied !== undefined) {
      return { ...applied, ...reused, isLazy: false, packId: undefined, state: "complete" };
    }
    if (tocDigest === undefined) return undefined;
    const { findLazy } = this.#options;
    const lazy = await this.#protectFound(() => findLazy({ ...key, toc_digest: tocDigest }));
    if (lazy === undefined) return undefined;
    const { layer: layerId, inodes, pack: packId, state } = lazy;
    return { ...reused, layerId, inodes, isLazy: packId !== undefined, packId, state, tocDigest };
  }

  /**
   * Makes an ordinary layer of a lazy one whose content is all there: it is verified once more and
   * stored as new content is, and all snapshots get the new layer. The lazy one and its pack go
   * when nobody has them open any more.
   *
   * @returns undefined where no snapshot refers to the layer
   * @throws AppError `data_loss` where content is missing or wrong: nothing changes; `unavailable`
   *   where the layer is being pulled just now
   */
  promote(layerId: number): Promise<ConvertedLayer | undefined> {
    return this.rewrite({ layerId, recompresses: false, promotes: true });
  }

  /**
   * Notes that all content of a lazy pack is there and on disk; survives a restart. Rejects with
   * `failed_precondition` where the files of the pack do not say so.
   */
  markComplete(packId: number): Promise<void> {
    return this.#lock.run(() => this.#options.housekeeper.call("markLazyComplete", packId));
  }

  settle(layerId: number): void {
    const count = (this.#protected.get(layerId) ?? 0) - 1;
    if (count > 0) this.#protected.set(layerId, count);
    else this.#protected.delete(layerId);
  }

  release(layerIds: readonly number[]): Promise<void> {
    return this.#deleter.release(layerIds);
  }

  /** A failure is nobody's: the next start finds the layer. */
  #releaseUnused(layerId: number): void {
    this.release([layerId]).catch((error: unknown) => {
      this.#options.log.warn({ layerId, reason: describeError(error) }, "cannot delete a layer");
    });
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
      const { layer } = await this.#builds.buildQuietly(`${layerId}`, start, rewriter);
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

  /** Answers builders; a handler of the worker pool. */
  get reserve(): LayerBuilds["reserve"] {
    return this.#builds.reserve;
  }

  /** As `reserve`. */
  get createLazyPack(): LayerBuilds["createLazyPack"] {
    return this.#builds.createLazyPack;
  }

  /** Answers a builder that cannot open the file of its blob; a handler of the worker pool. */
  readonly readBlob = (request: BlobRead): Promise<Uint8Array> => this.#blobReads.read(request);

  /** The layer that was made of the same blob before, protected. */
  async #findKnown(key: BlobKey): Promise<BlobLayer | undefined> {
    const known = await this.#protectFound(() => this.#options.findBlob(key));
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
    const { layer, result } = await this.#builds.build(digest, start, pool);
    const message = layer.reused
      ? `layer ${digest} already has erofs image, skip conversion`
      : `successfully auto-converted layer ${digest}`;
    log.info({ blob: digest, ...layer }, message);
    return { ...layer, ...result };
  }

  #protectFound<Found extends { readonly layer: number }>(
    find: () => Found | undefined,
  ): Promise<Found | undefined> {
    return this.#lock.run(() => {
      const found = find();
      if (found !== undefined) this.#protect(found.layer);
      return found;
    });
  }

  #protect(layerId: number): void {
    this.#protected.set(layerId, (this.#protected.get(layerId) ?? 0) + 1);
  }
}

/** A table that nobody vouches for is known by its own bytes. */
function tocDigestOf({ claim, toc }: LazyTable): string {
  return claim.tocDigest ?? sha256Digest(toc);
}

/** What decides how the layer turns out, but for what it takes from those below. */
function keyOf({ digest }: Pick<BlobNote, "digest">, { root, lower }: LayerBase): BlobKey {
  const { mode, uid, gid } = root;
  const place = lower.length === 0 ? "first" : "upper";
  return { digest, root: `${mode.toString(8)} ${uid}:${gid}`, place };
}

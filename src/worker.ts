/**
 * The entry of every worker thread: what the main thread may ask for by name.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { openFlag } from "../ffi/constants.ts";
import { close, open, syncFilesystem } from "../ffi/file.ts";
import { convertLayer, type ConvertedLayer, type LayerJob } from "./convert/layer.ts";
import { batchedProgress } from "./convert/progress.ts";
import { openTar } from "./decoder-thread.ts";
import type { ExtentCodec } from "./erofs/extent-codec.ts";
import { AppError } from "./errors.ts";
import {
  buildFromBlob,
  inspectBlob,
  type BlobBuild,
  type BlobSurroundings,
} from "./layer/apply.ts";
import type { BlobSource } from "./layer/blob-bytes.ts";
import { buildFromDirectory, publish, type BuildEnvironment } from "./layer/build.ts";
import { buildLazy, type LazyFacts, type LazyRequest } from "./layer/lazy-build.ts";
import { rewriteLayer, type RewriteRequest } from "./layer/rewrite.ts";
import { type MkfsRequest, type MkfsResult, probeMkfs } from "./mkfs/probe.ts";
import type { MkfsTool } from "./mkfs/tool.ts";
import type { ImageFiles, MountMode } from "./mount/contract.ts";
import { mountImage, unmountTarget } from "./mount/erofs-mount.ts";
import {
  type CompressionRequest,
  type CompressionResult,
  probeCompression,
} from "./mount/probe-compression.ts";
import { probeMountMode, type ProbeResult } from "./mount/probe.ts";
import { type Compaction, condemnBundles } from "./store/compaction.ts";
import { type Encoding, openIndex } from "./store/index-database.ts";
import { moveLayerBlobs } from "./store/layer-blobs.ts";
import type { BlockRange } from "./store/layout.ts";
import { markComplete } from "./store/lazy-layers.ts";
import { requireWholePack } from "./store/lazy-pack.ts";
import type { StorePaths } from "./store/paths.ts";
import type { BuiltLayer, PublishedLayer } from "./store/publish.ts";
import { deleteLayers, discardUncovered, findLeftovers, removeLeftovers } from "./store/reclaim.ts";
import { removeTree } from "./store/remove-tree.ts";
import { layersToRecompress, layersWithStale, type OutdatedLayer } from "./store/stale-chunks.ts";
import { readStatistics, type StoreStatistics } from "./store/statistics.ts";
import { traceProgress, type TraceProgress, type TraceRequest } from "./store/trace-progress.ts";
import { type FileStamp, type ImageIdentity, verifyImage } from "./store/verify-image.ts";
import type { AppliedBlob } from "./snapshot/contract.ts";
import { checkpoint } from "./snapshot/metadata.ts";
import { defined } from "./util/assert.ts";
import { type CancelFlag, isCancelled } from "./util/cancel-flag.ts";
import { truncateLog } from "./util/database-log.ts";
import { ThreadChannel } from "./util/thread-channel.ts";

export interface WorkerConfiguration {
  readonly paths: StorePaths;
  readonly chunkBytes: number;
  /** How new content is compressed; undefined: not at all, or not known yet. */
  readonly codec: ExtentCodec | undefined;
  /** Writes images in our place. */
  readonly mkfs: MkfsTool | undefined;
  /** Set when the daemon stops. */
  readonly stopFlag: CancelFlag;
}

interface MountRequest {
  readonly files: ImageFiles;
  readonly target: string;
  readonly mode: MountMode;
  readonly identity: ImageIdentity;
  /** Of the image when it was mounted the last time. */
  readonly verified: FileStamp | undefined;
}

declare const self: Worker;

/** Within that, the next layer of a lazy image is begun with. */
const lazyPauseMs = 100;

let configuration: WorkerConfiguration | undefined;
let openDatabase: Database | undefined;
const builtLayers = new Map<number, BuiltLayer>();
let collection: Timer | undefined;

function paths(): StorePaths {
  return defined(configuration, "the worker's configuration").paths;
}

function database(): Database {
  openDatabase ??= openIndex(paths().indexDatabase);
  return openDatabase;
}

/** @param cancelFlag of a build that may be cancelled */
function environment(job: number, cancelFlag?: CancelFlag): BuildEnvironment {
  const settings = defined(configuration, "the worker's configuration");
  const { chunkBytes, codec, mkfs: tool, stopFlag } = settings;
  const reserve = (count: number) => channel.call<number>("reserve", { job, count });
  const isEnded = () => [stopFlag, cancelFlag].some((flag) => flag && isCancelled(flag));
  const mkfs = tool && { tool, isCancelled: isEnded, onFallback: noteFallback };
  return { database: database(), paths: paths(), chunkBytes, codec, reserve, mkfs };
}

function noteFallback(reason: string): void {
  void channel.call("noteFallback", reason);
}

/** A job that reads a blob. */
interface BlobJob {
  readonly job: number;
  readonly blob: BlobSource;
  readonly cancelFlag: CancelFlag;
}

function surroundings({ job, cancelFlag }: BlobJob): BlobSurroundings {
  return {
    isCancelled: () => isCancelled(cancelFlag),
    read: (offsetBytes, lengthBytes) =>
      channel.call<Uint8Array>("readBlob", { job, offsetBytes, lengthBytes }),
    openTar,
  };
}

const handlers = {
  configure(next: WorkerConfiguration): void {
    configuration = next;
  },

  async buildFromDirectory(request: { job: number; directory: string }): Promise<void> {
    const built = await buildFromDirectory(environment(request.job), request.directory);
    builtLayers.set(request.job, built);
  },

  async buildFromBlob(request: BlobBuild & BlobJob): Promise<AppliedBlob> {
    const { job, cancelFlag } = request;
    const ours = environment(job, cancelFlag);
    const built = await buildFromBlob(ours, request, surroundings(request));
    builtLayers.set(job, built.layer);
    return built.applied;
  },

  async buildLazy(request: LazyRequest & { job: number }): Promise<LazyFacts> {
    const { job } = request;
    // Somebody waits for all layers of the image; what is left of the last one is small.
    clearTimeout(collection);
    const createPack = (contentBytes: number) =>
      channel.call<number>("createLazyPack", { job, contentBytes });
    const { layer, facts } = await buildLazy(environment(job), request, createPack);
    builtLayers.set(job, layer);
    return facts;
  },

  async rewriteLayer(request: RewriteRequest & { job: number }): Promise<void> {
    const pacer = request.promotes === true ? "pacePromotion" : "pace";
    const pace = (bytes: number) => channel.call<void>(pacer, bytes);
    builtLayers.set(request.job, await rewriteLayer(environment(request.job), request, pace));
  },

  inspectBlob(request: BlobJob): Promise<AppliedBlob> {
    return inspectBlob(request.blob, surroundings(request));
  },

  convertLayer({ job, layer }: { job: number; layer: LayerJob }): Promise<ConvertedLayer> {
    const report = batchedProgress((bytes) => void channel.call("progress", { job, bytes }));
    return convertLayer(layer, report);
  },

  publish(job: number): PublishedLayer {
    const layer = builtLayers.get(job);
    builtLayers.delete(job);
    if (layer === undefined) throw new AppError("internal", `No layer was built by job ${job}`);
    try {
      return publish(environment(job), layer);
    } finally {
      // After the answer: the next layer may be another thread's.
      const delayMs = layer.lazy === undefined ? 0 : lazyPauseMs;
      collection = setTimeout(() => Bun.gc(true), delayMs);
    }
  },

  discard(ranges: readonly BlockRange[]): void {
    discardUncovered(database(), paths(), ranges);
  },

  /** The layers that stay, because they are in use. */
  deleteLayers(request: { layerIds: readonly number[]; waits: boolean }): number[] {
    return deleteLayers(database(), paths(), request.layerIds, request.waits);
  },

  moveLayerBlobs(request: { from: number; to: number }): void {
    moveLayerBlobs(database(), request.from, request.to);
  },

  traceProgress(request: TraceRequest): TraceProgress {
    return traceProgress(database(), paths(), request);
  },

  markLazyComplete(packId: number): void {
    requireWholePack(paths(), packId);
    markComplete(database(), packId);
  },

  condemnBundles(algorithm: Exclude<Encoding, 0>): Compaction {
    return condemnBundles(database(), algorithm);
  },

  /** @param setting the one to recompress for; undefined: only what is stale */
  outdatedLayers({ setting }: { setting: Encoding | undefined }): OutdatedLayer[] {
    if (setting === undefined) return layersWithStale(database());
    return layersToRecompress(database(), setting);
  },

  /** Removes what a crash left behind; the number of things found. */
  sweep(): number {
    const leftovers = findLeftovers(database(), paths());
    removeLeftovers(paths(), leftovers);
    return leftovers.files.length + leftovers.ranges.length;
  },

  statistics(references: readonly (readonly [number, number])[]): StoreStatistics {
    return readStatistics(database(), paths(), new Map(references));
  },

  removeTree(path: string): void {
    removeTree(path);
  },

  syncFilesystem(path: string): void {
    const file = open(path, openFlag.readOnly);
    try {
      syncFilesystem(file);
    } finally {
      close(file);
    }
  },

  checkpoint(): void {
    checkpoint(paths().snapshotDatabase);
  },

  truncateIndexLog(): void {
    truncateLog(database());
  },

  probeMount(request: { method: "auto" | "file" | "loop" }): ProbeResult {
    return probeMountMode(request.method, paths().root);
  },

  probeCompression(request: CompressionRequest): Promise<CompressionResult> {
    return probeCompression(request, paths().root);
  },

  probeMkfs(request: MkfsRequest): Promise<MkfsResult> {
    return probeMkfs(request, paths().root);
  },

  mount(request: MountRequest): FileStamp {
    const stamp = verifyImage(request.identity, request.verified);
    mountImage(request.files, request.target, request.mode);
    return stamp;
  },

  unmount(target: string): void {
    unmountTarget(target);
  },
};

const channel = new ThreadChannel((message) => self.postMessage(message), handlers);
self.addEventListener("message", (event: MessageEvent<unknown>) => channel.receive(event.data));

/**
 * What the daemon keeps on this node, put together: root, worker threads, mounts, snapshots.
 *
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { realtimeNs } from "../ffi/time.ts";
import type { Config } from "./config/schema.ts";
import { openBlob } from "./containerd/content-store.ts";
import type { BlobReader } from "./containerd/contract.ts";
import { DownloadWatcher } from "./containerd/downloads.ts";
import type { ExtentCodec } from "./erofs/extent-codec.ts";
import { AppError, describeError } from "./errors.ts";
import { nodeStatistics, type NodeStatistics } from "./http/statistics.ts";
import type { BlobRead } from "./layer/blob-reads.ts";
import { NodeLayerStore } from "./layer/layer-store.ts";
import { Maintenance } from "./layer/maintenance.ts";
import { Pacer } from "./layer/pacer.ts";
import type { MkfsResult } from "./mkfs/probe.ts";
import type { MkfsTool } from "./mkfs/tool.ts";
import type { ImageFiles, MountDriver, MountMode } from "./mount/contract.ts";
import { NodeLayerMounts } from "./mount/layer-mounts.ts";
import { parseMountInfo, type MountEntry } from "./mount/mountinfo.ts";
import { checkMountNamespace } from "./mount/namespace-check.ts";
import type { CompressionResult } from "./mount/probe-compression.ts";
import type { ProbeResult } from "./mount/probe.ts";
import { openRoot, type OpenRoot } from "./root.ts";
import { Snapshotter } from "./snapshot/snapshotter.ts";
import { effectiveCodec } from "./store/chunk-sink.ts";
import {
  allLayerIds,
  endOfPack,
  findLayer,
  imageIdentity,
  packIdsOf,
  type LayerRow,
} from "./store/index-database.ts";
import { findLayerBlob } from "./store/layer-blobs.ts";
import { imagePath, packPath, type StorePaths } from "./store/paths.ts";
import { hasStaleChunks } from "./store/stale-chunks.ts";
import type { StoreStatistics } from "./store/statistics.ts";
import { KiB, MiB } from "./util/bytes.ts";
import { cancel, type CancelFlag, makeCancelFlag } from "./util/cancel-flag.ts";
import type { Logger } from "./util/logger.ts";
import type { Handlers } from "./util/thread-channel.ts";
import type { WorkerConfiguration } from "./worker.ts";
import { WorkerPool } from "./workers.ts";

/** Threads cost some megabytes each; they come back within milliseconds. */
const threadIdleMs = 15_000;
const checkpointIntervalMs = 5_000;
/** Logs of this size are moved to their databases. */
const logBytesMax = { snapshots: 4 * MiB, index: 256 * KiB } as const;

export interface Node {
  readonly paths: StorePaths;
  readonly snapshotter: Snapshotter;
  readonly statistics: () => Promise<NodeStatistics>;
  readonly maintenance: Maintenance;
  /** Unmounts what no snapshot needs; what running containers use stays for the next start. */
  close(): Promise<void>;
}

interface Surroundings {
  readonly config: Config;
  readonly root: OpenRoot;
  readonly log: Logger;
  /** Ends what may run on for long, when the daemon stops. */
  readonly stopFlag: CancelFlag;
  /** How content is compressed, once that is known: builders start after that. */
  codec: ExtentCodec | undefined;
  /** The program that writes images in our place. */
  mkfs: MkfsTool | undefined;
  /** Mounts and unmounts, one at a time; a container that starts waits for them. */
  readonly mounter: WorkerPool;
  /** Conversions. */
  readonly builders: WorkerPool;
  /** Conversions of what is being downloaded. */
  readonly earlyBuilders: WorkerPool;
  /** Layers that are built anew, one after the other. */
  readonly rewriter: WorkerPool;
  /** Deletions, figures, checkpoints: what nobody is in a hurry for. */
  readonly housekeeper: WorkerPool;
}

/**
 * @param blobs containerd, for layers that are read again when their snapshot is committed
 * @param onCrash is called when the process cannot be trusted any more
 */
export async function openNode(
  config: Config,
  log: Logger,
  blobs: BlobReader,
  onCrash: (error: AppError) => void,
): Promise<Node> {
  await using opened = new AsyncDisposableStack();
  const root = await openRoot(config.root);
  let layers: NodeLayerStore | undefined;
  // A conversion that was cut off leaves something for the next start to collect.
  opened.defer(() => root.close((layers?.counts.running ?? 0) === 0));
  const warning = checkMountNamespace(config.root);
  if (warning !== undefined) log.warn({ root: config.root }, warning);
  const pacer = new Pacer({
    bytesPerSecond: config.maintenance.bytes_per_second,
    isBusy: () => (layers?.counts.running ?? 0) > 0,
  });
  const handlers = {
    reserve: (request: { job: number; count: number }) => layers?.reserve(request),
    readBlob: (request: BlobRead) => layers?.readBlob(request),
    pace: (bytes: number) => pacer.pace(bytes),
    noteFallback: (reason: string) => {
      log.warn({ reason }, "a layer is built without mkfs.erofs, which cannot make its image");
    },
  };
  const surroundings = openSurroundings(config, root, log, handlers, onCrash);
  opened.defer(() => {
    for (const pool of surroundings.pools) pool.close();
  });
  const mounts = await openMounts(surroundings);
  let maintenance: Maintenance | undefined;
  layers = openLayerStore(surroundings, mounts, () => maintenance?.compactLater());
  const downloads = openDownloads(surroundings, layers, blobs);
  const snapshotter = openSnapshotter(surroundings, mounts, layers, blobs, downloads);
  const adoption = await mounts.adopt(mountEntries(), snapshotter.layersInUse());
  log.info(adoption, "mounts taken over");
  opened.defer(() => mounts.shutdown());
  const store = layers;
  opened.defer(() => store.close());
  opened.defer(() => downloads?.close());
  opened.defer(() => snapshotter.close());
  await recoverStore(surroundings, layers);
  maintenance = openMaintenance(surroundings, layers, pacer);
  const background = maintenance;
  opened.defer(() => background.close());
  maintenance.start();
  const checkpoints = setInterval(() => void checkpoint(surroundings), checkpointIntervalMs);
  opened.defer(() => clearInterval(checkpoints));
  opened.defer(() => cancel(surroundings.stopFlag));
  const stack = opened.move();
  return {
    paths: root.paths,
    snapshotter,
    statistics: () => readStatistics(surroundings, mounts, store),
    maintenance,
    close: () => stack.disposeAsync(),
  };
}

function openSurroundings(
  config: Config,
  root: OpenRoot,
  log: Logger,
  handlers: Handlers,
  onCrash: (error: AppError) => void,
): Surroundings & { readonly pools: readonly WorkerPool[] } {
  const configuration = (): WorkerConfiguration => ({
    paths: root.paths,
    chunkBytes: config.chunk_size,
    codec: surroundings.codec,
    mkfs: surroundings.mkfs,
    stopFlag: surroundings.stopFlag,
  });
  const common = { idleMs: threadIdleMs, configuration, handlers, onCrash };
  const mounter = new WorkerPool({ ...common, threadsMax: 1 });
  const builders = new WorkerPool({ ...common, threadsMax: config.conversion.workers });
  const earlyBuilders = new WorkerPool({ ...common, threadsMax: config.conversion.workers });
  const rewriter = new WorkerPool({ ...common, threadsMax: 1 });
  const housekeeper = new WorkerPool({ ...common, threadsMax: 1 });
  const pools = [mounter, builders, earlyBuilders, rewriter, housekeeper];
  const workers = { mounter, builders, earlyBuilders, rewriter, housekeeper, pools };
  const stopFlag = makeCancelFlag();
  const surroundings = {
    config,
    root,
    log,
    stopFlag,
    codec: undefined,
    mkfs: undefined,
    ...workers,
  };
  return surroundings;
}

function mountEntries(): MountEntry[] {
  return parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
}

async function openMounts(surroundings: Surroundings): Promise<NodeLayerMounts> {
  const { config, root, log, mounter } = surroundings;
  const { method, idle_timeout_ms: idleMs } = config.mount;
  const probe = await mounter.call<ProbeResult>("probeMount", { method });
  for (const { tried, reason } of probe.failed) log.info({ ...tried, reason }, "cannot mount so");
  log.info(probe.mode, "mounting images");
  await chooseCompression(surroundings, probe.mode);
  if (config.erofs.builder === "mkfs") await chooseMkfs(surroundings, probe.mode);
  const driver: MountDriver = {
    mount: (files, target) => mountVerified(surroundings, files, target, probe.mode),
    unmount: (target) => mounter.call("unmount", target),
  };
  return new NodeLayerMounts({
    directory: root.paths.mounts,
    driver,
    method: probe.mode.method,
    source: (layerId) => imageFilesOf(root, requireLayer(root, layerId)),
    idleMs,
    log,
  });
}

async function chooseCompression(surroundings: Surroundings, mode: MountMode): Promise<void> {
  const { config, log, mounter } = surroundings;
  const request = { compression: config.compression, level: config.compression_level, mode };
  const probe = await mounter.call<CompressionResult>("probeCompression", request);
  for (const { tried, reason } of probe.failed) log.info({ tried, reason }, "cannot compress so");
  log.info({ codec: probe.codec ?? "none" }, "compressing content");
  surroundings.codec = probe.codec;
}

async function chooseMkfs(surroundings: Surroundings, mode: MountMode): Promise<void> {
  const { config, log, mounter } = surroundings;
  const { mkfs_path: path, mkfs_options: options } = config.erofs;
  const probe = await mounter.call<MkfsResult>("probeMkfs", { path, options, mode });
  for (const { tried, reason } of probe.failed) log.info({ tried, reason }, "cannot run mkfs so");
  log.info({ ...probe.tool, version: probe.version }, "building images with mkfs.erofs");
  surroundings.mkfs = probe.tool;
}

/** The target is named by the layer, so its image is known here and verified before the mount. */
function mountVerified(
  { root, mounter }: Surroundings,
  files: ImageFiles,
  target: string,
  mode: MountMode,
): Promise<void> {
  const identity = imageIdentity(root.paths, requireLayer(root, Number(basename(target))));
  return mounter.call("mount", { files, target, mode, identity });
}

function requireLayer(root: OpenRoot, layerId: number): LayerRow {
  const layer = findLayer(root.index, layerId);
  if (layer !== undefined) return layer;
  throw new AppError("data_loss", `The content of layer ${layerId} is lost`, {
    remedy: "remove the images that use the layer and pull them again",
  });
}

function imageFilesOf({ paths }: OpenRoot, layer: LayerRow): ImageFiles {
  return {
    image: imagePath(paths, layer.id),
    packs: packIdsOf(layer).map((packId) => packPath(paths, packId)),
  };
}

function openLayerStore(
  { root, builders, earlyBuilders, rewriter, housekeeper, log }: Surroundings,
  mounts: NodeLayerMounts,
  onOutdated: () => void,
): NodeLayerStore {
  return new NodeLayerStore({
    builders,
    earlyBuilders,
    rewriter,
    housekeeper,
    allocator: root.allocator,
    mounts,
    isReferenced: (layerId) => root.metadata.isLayerReferenced(layerId),
    durable: () => root.metadata.durable(),
    moveSnapshots: (from, to) => {
      root.metadata.moveLayer(from, to);
      return root.metadata.durable();
    },
    findBlob: (key) => findLayerBlob(root.index, root.paths, key),
    isPackEmpty: (packId) => endOfPack(root.index, packId) === undefined,
    onOutdated,
    log,
  });
}

/** Under which key snapshots.db keeps that recompressing was asked for and has not ended. */
const recompressKey = "recompress";

function openMaintenance(
  { config, root, codec, housekeeper, log }: Surroundings,
  layers: NodeLayerStore,
  pacer: Pacer,
): Maintenance {
  const { metadata } = root;
  return new Maintenance({
    layers,
    housekeeper,
    pacer,
    setting: effectiveCodec(codec, config.chunk_size)?.algorithm ?? 0,
    isReferenced: (layerId) => metadata.isLayerReferenced(layerId),
    hasStale: () => hasStaleChunks(root.index),
    compactionDelayMs: config.maintenance.compaction_delay_ms ?? undefined,
    memory: {
      get isWanted() {
        return metadata.value(recompressKey) === "wanted";
      },
      set isWanted(isWanted) {
        if (isWanted !== this.isWanted) metadata.setValue(recompressKey, isWanted ? "wanted" : "");
      },
    },
    log,
  });
}

/** Undefined where nobody would apply what is built early. */
function openDownloads(
  { config, log }: Surroundings,
  layers: NodeLayerStore,
  blobs: BlobReader,
): DownloadWatcher | undefined {
  const { conversion, diff, containerd } = config;
  if (!conversion.enabled || !diff.enabled || !diff.early) return undefined;
  const content = { blobs, containerdRoot: containerd.root };
  return new DownloadWatcher({
    containerdRoot: containerd.root,
    onDownload: ({ blob, file }) => layers.applyEarly(openBlob(content, blob), file),
    log,
  });
}

function openSnapshotter(
  { config, root, log, housekeeper }: Surroundings,
  mounts: NodeLayerMounts,
  layerStore: NodeLayerStore,
  blobs: BlobReader,
  downloads: DownloadWatcher | undefined,
): Snapshotter {
  const content = { blobs, containerdRoot: config.containerd.root };
  return new Snapshotter({
    root: config.root,
    metadata: root.metadata,
    layerStore,
    mounts,
    log,
    nowNs: realtimeNs,
    conversionEnabled: config.conversion.enabled,
    openBlob: (note) => openBlob(content, note),
    noteUnpacking: () => downloads?.watch(),
    trees: {
      removeTree: (path) => housekeeper.call("removeTree", path),
      syncFilesystem: (path) => housekeeper.call("syncFilesystem", path),
    },
  });
}

/** Deletes what the last run left behind: half-built layers, and layers no snapshot came to use. */
async function recoverStore(
  { root, housekeeper, log }: Surroundings,
  layers: NodeLayerStore,
): Promise<void> {
  const unreferenced = allLayerIds(root.index).filter(
    (layerId) => !root.metadata.isLayerReferenced(layerId),
  );
  if (unreferenced.length > 0) await layers.release(unreferenced);
  if (!root.wasInterrupted) return;
  const found = await housekeeper.call<number>("sweep");
  log.warn({ found }, "the last daemon did not stop in order; its leftovers are removed");
}

async function checkpoint({ root, housekeeper, log }: Surroundings): Promise<void> {
  const { snapshotDatabase, indexDatabase } = root.paths;
  try {
    if (hasLongLog(snapshotDatabase, logBytesMax.snapshots)) await housekeeper.call("checkpoint");
    if (hasLongLog(indexDatabase, logBytesMax.index)) await housekeeper.call("truncateIndexLog");
  } catch (error) {
    log.warn({ reason: describeError(error) }, "cannot checkpoint a database");
  }
}

function hasLongLog(database: string, sizeBytesMax: number): boolean {
  const wal = statSync(`${database}-wal`, { throwIfNoEntry: false });
  return wal !== undefined && wal.size >= sizeBytesMax;
}

async function readStatistics(
  { root, housekeeper }: Surroundings,
  mounts: NodeLayerMounts,
  layers: NodeLayerStore,
): Promise<NodeStatistics> {
  const references = root.metadata.layerReferences();
  const store = await housekeeper.call<StoreStatistics>("statistics", [...references]);
  let convertedLayers = 0;
  for (const count of references.values()) convertedLayers += count;
  return nodeStatistics({
    store,
    conversions: layers.counts,
    early: layers.earlyCounts,
    mounts: mounts.counts(),
    convertedLayers,
    plainLayers: root.metadata.plainLayers(),
  });
}

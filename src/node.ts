/**
 * What the daemon keeps on this node, put together: root, worker threads, mounts, snapshots.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { realtimeNs } from "../ffi/time.ts";
import { type LazyAdmin, openLazyAdmin } from "./claim/admin.ts";
import type { LazyLayers } from "./claim/lazy-layers.ts";
import {
  type LazyParts,
  lazyPacks,
  openClaims,
  type OpenClaims,
  openLazyLayers,
} from "./claim/open.ts";
import { Promotions } from "./claim/promotions.ts";
import type { Config } from "./config/schema.ts";
import { openBlob } from "./containerd/content-store.ts";
import type { BlobReader } from "./containerd/contract.ts";
import { DownloadWatcher } from "./containerd/downloads.ts";
import { type AppError, describeError } from "./errors.ts";
import { nodeStatistics, type NodeStatistics } from "./http/statistics.ts";
import type { BlobRead } from "./layer/blob-reads.ts";
import { claimThreadsKept, NodeLayerStore } from "./layer/layer-store.ts";
import { Maintenance } from "./layer/maintenance.ts";
import { Pacer } from "./layer/pacer.ts";
import type { NodeLayerMounts } from "./mount/layer-mounts.ts";
import { parseMountInfo, type MountEntry } from "./mount/mountinfo.ts";
import { checkMountNamespace } from "./mount/namespace-check.ts";
import { openMounts } from "./node-mounts.ts";
import type { OpenSupervisor } from "./ondemand/open-supervisor.ts";
import { openRoot } from "./root.ts";
import { logBytesMax } from "./snapshot/metadata.ts";
import { Snapshotter } from "./snapshot/snapshotter.ts";
import { effectiveCodec } from "./store/chunk-sink.ts";
import { allLayerIds, endOfPack } from "./store/index-database.ts";
import { findLayerBlob } from "./store/layer-blobs.ts";
import { findLazyLayer, lazyPackOfLayer } from "./store/lazy-layers.ts";
import type { StorePaths } from "./store/paths.ts";
import { hasStaleChunks } from "./store/stale-chunks.ts";
import type { StoreStatistics } from "./store/statistics.ts";
import { openSurroundings, type Surroundings } from "./surroundings.ts";
import { cancel } from "./util/cancel-flag.ts";
import { hasLongLog } from "./util/database-log.ts";
import type { Logger } from "./util/logger.ts";
import type { Handlers } from "./util/thread-channel.ts";

const checkpointIntervalMs = 5_000;

export interface Node {
  readonly paths: StorePaths;
  readonly snapshotter: Snapshotter;
  readonly statistics: () => Promise<NodeStatistics>;
  readonly maintenance: Maintenance;
  readonly lazy: LazyAdmin;
  /** Unmounts what no snapshot needs; what running containers use stays for the next start. */
  close(): Promise<void>;
}

/**
 * @param blobs containerd, for layers that are read again when their snapshot is committed
 * @param supervisor of who brings the content of lazy layers; begins as soon as the root is ours:
 *   readers may wait for that, and not for what else is opened here
 * @param onCrash is called when the process cannot be trusted any more
 */
export async function openNode(
  config: Config,
  log: Logger,
  blobs: BlobReader,
  supervisor: OpenSupervisor,
  onCrash: (error: AppError) => void,
): Promise<Node> {
  await using opened = new AsyncDisposableStack();
  const root = await openRoot(config.root, () => supervisor.begin());
  let layers: NodeLayerStore | undefined;
  // A conversion that was cut off leaves something for the next start to collect.
  opened.defer(() => root.close((layers?.counts.running ?? 0) === 0));
  const warning = checkMountNamespace(config.root);
  if (warning !== undefined) log.warn({ root: config.root }, warning);
  const isBusy = () => (layers?.counts.running ?? 0) > 0;
  const pacing = { bytesPerSecond: config.maintenance.bytes_per_second, isBusy };
  const pacer = new Pacer(pacing);
  // Of its own: maintenance that is cancelled ends no promotion, nor is it slowed down by one.
  const promotionPacer = new Pacer(pacing);
  const handlers = builderHandlers(() => layers, pacer, promotionPacer, log);
  const surroundings = openSurroundings(config, root, log, handlers, onCrash);
  opened.defer(() => {
    for (const pool of surroundings.pools) pool.close();
  });
  let promotions: Promotions | undefined;
  const parts: LazyParts = { ...surroundings, ...root };
  const lazyLayers = openLazyLayers(parts, supervisor.control, (pack) => promotions?.add(pack));
  const mounts = await openMounts(surroundings, lazyLayers);
  let maintenance: Maintenance | undefined;
  const onOutdated = () => maintenance?.compactLater();
  layers = openLayerStore(surroundings, mounts, lazyLayers, onOutdated);
  const downloads = openDownloads(surroundings, layers, blobs);
  const claims = opened.use(openClaims(parts, layers, lazyLayers, blobs));
  const snapshotter = openSnapshotter(surroundings, mounts, layers, blobs, claims, downloads);
  const adoption = await mounts.adopt(mountEntries(), snapshotter.layersInUse());
  log.info(adoption, "mounts taken over");
  opened.defer(() => mounts.shutdown());
  const store = layers;
  opened.defer(() => store.close());
  opened.defer(() => downloads?.close());
  opened.defer(() => snapshotter.close());
  await recoverStore(surroundings, layers);
  if (claims !== undefined && config.lazy.standby) layers.expectClaim(claimThreadsKept);
  maintenance = openMaintenance(surroundings, layers, pacer);
  const background = maintenance;
  opened.defer(() => background.close());
  promotions = openPromotions(surroundings, layers);
  const lazy = openLazyAdmin(parts, lazyLayers, claims, promotions, mounts);
  const promoting = promotions;
  opened.defer(() => promoting.close());
  opened.defer(() => promotionPacer.cancel());
  lazyLayers.start();
  opened.defer(() => lazyLayers.close());
  maintenance.start();
  const checkpoints = setInterval(() => void checkpoint(surroundings), checkpointIntervalMs);
  opened.defer(() => clearInterval(checkpoints));
  opened.defer(() => cancel(surroundings.stopFlag));
  const stack = opened.move();
  return {
    paths: root.paths,
    snapshotter,
    statistics: () => readStatistics(surroundings, mounts, store, lazy),
    maintenance,
    lazy,
    close: () => stack.disposeAsync(),
  };
}

/** What worker threads ask of this one; `layers` is there before they have anything to do. */
function builderHandlers(
  layers: () => NodeLayerStore | undefined,
  pacer: Pacer,
  promotionPacer: Pacer,
  log: Logger,
): Handlers {
  return {
    reserve: (request: { job: number; count: number }) => layers()?.reserve(request),
    createLazyPack: (request: { job: number; contentBytes: number }) =>
      layers()?.createLazyPack(request),
    readBlob: (request: BlobRead) => layers()?.readBlob(request),
    pace: (bytes: number) => pacer.pace(bytes),
    pacePromotion: (bytes: number) => promotionPacer.pace(bytes),
    noteFallback: (reason: string) => {
      log.warn({ reason }, "a layer is built without mkfs.erofs, which cannot make its image");
    },
  };
}

function mountEntries(): MountEntry[] {
  return parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
}

function openLayerStore(
  surroundings: Surroundings,
  mounts: NodeLayerMounts,
  lazyLayers: LazyLayers,
  onOutdated: () => void,
): NodeLayerStore {
  const { root, builders, claimers, earlyBuilders, rewriter, housekeeper, log } = surroundings;
  return new NodeLayerStore({
    builders,
    claimers,
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
    findLazy: (key) => findLazyLayer(root.index, root.paths, key),
    lazyPacksOf: (layerIds) =>
      layerIds.flatMap((layerId) => lazyPackOfLayer(root.index, layerId)?.pack ?? []),
    letGoOfPacks: (packIds) => lazyLayers.letGo(packIds),
    isPackEmpty: (packId) => endOfPack(root.index, packId) === undefined,
    onOutdated,
    // What a pull has written lies twice until then.
    onIdle: () => void checkpoint(surroundings),
    log,
  });
}

/** Goes on with what the last run of the daemon did not finish. */
function openPromotions({ root, log }: Surroundings, layers: NodeLayerStore): Promotions {
  const promotions = new Promotions({ layers, log });
  for (const pack of lazyPacks(root.index)) if (pack.isComplete) promotions.add(pack);
  return promotions;
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
  claims: OpenClaims | undefined,
  downloads: DownloadWatcher | undefined,
): Snapshotter {
  const content = { blobs, containerdRoot: config.containerd.root };
  return new Snapshotter({
    root: config.root,
    metadata: root.metadata,
    layerStore,
    claims: claims?.claims,
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
    if (hasLongLog(snapshotDatabase, logBytesMax)) await housekeeper.call("checkpoint");
    if (hasLongLog(indexDatabase, logBytesMax)) await housekeeper.call("truncateIndexLog");
  } catch (error) {
    log.warn({ reason: describeError(error) }, "cannot checkpoint a database");
  }
}

async function readStatistics(
  { root, housekeeper }: Surroundings,
  mounts: NodeLayerMounts,
  layers: NodeLayerStore,
  lazy: LazyAdmin,
): Promise<NodeStatistics> {
  const references = root.metadata.layerReferences();
  const store = await housekeeper.call<StoreStatistics>("statistics", [...references]);
  let convertedLayers = 0;
  for (const count of references.values()) convertedLayers += count;
  return nodeStatistics({
    store,
    lazy: await lazy.statistics(),
    conversions: layers.counts,
    early: layers.earlyCounts,
    mounts: mounts.counts(),
    convertedLayers,
    plainLayers: root.metadata.plainLayers(),
  });
}

/**
 * The entry of every worker thread: what the main thread may ask for by name.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { openFlag } from "../ffi/constants.ts";
import { close, open, syncFilesystem } from "../ffi/file.ts";
import { openTar } from "./decoder-thread.ts";
import type { ExtentCodec } from "./erofs/extent-codec.ts";
import { AppError } from "./errors.ts";
import { buildFromBlob, type BlobBuild } from "./layer/apply.ts";
import { buildFromDirectory, publish, type BuildEnvironment } from "./layer/build.ts";
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
import { openIndex, truncateLog } from "./store/index-database.ts";
import type { BlockRange } from "./store/layout.ts";
import type { StorePaths } from "./store/paths.ts";
import type { BuiltLayer, PublishedLayer } from "./store/publish.ts";
import { deleteLayers, discardUncovered, findLeftovers, removeLeftovers } from "./store/reclaim.ts";
import { removeTree } from "./store/remove-tree.ts";
import { readStatistics, type StoreStatistics } from "./store/statistics.ts";
import { verifyImage, type ImageIdentity } from "./store/verify-image.ts";
import type { AppliedBlob } from "./snapshot/contract.ts";
import { checkpoint } from "./snapshot/metadata.ts";
import { defined } from "./util/assert.ts";
import { ThreadChannel } from "./util/thread-channel.ts";

export interface WorkerConfiguration {
  readonly paths: StorePaths;
  readonly chunkBytes: number;
  /** How new content is compressed; undefined: not at all, or not known yet. */
  readonly codec: ExtentCodec | undefined;
  /** Writes images in our place. */
  readonly mkfs: MkfsTool | undefined;
}

interface MountRequest {
  readonly files: ImageFiles;
  readonly target: string;
  readonly mode: MountMode;
  readonly identity: ImageIdentity;
}

declare const self: Worker;

let configuration: WorkerConfiguration | undefined;
let openDatabase: Database | undefined;
const builtLayers = new Map<number, BuiltLayer>();
/** Builds under way; aborted when nobody waits for one any more. */
const jobs = new Map<number, AbortController>();

function paths(): StorePaths {
  return defined(configuration, "the worker's configuration").paths;
}

function database(): Database {
  openDatabase ??= openIndex(paths().indexDatabase);
  return openDatabase;
}

function environment(job: number): BuildEnvironment {
  const { chunkBytes, codec, mkfs: tool } = defined(configuration, "the worker's configuration");
  const reserve = (count: number) => channel.call<number>("reserve", { job, count });
  const signal = jobs.get(job)?.signal ?? AbortSignal.abort();
  const mkfs = tool === undefined ? undefined : { tool, signal, onFallback: noteFallback };
  return { database: database(), paths: paths(), chunkBytes, codec, reserve, mkfs };
}

function noteFallback(reason: string): void {
  void channel.call("noteFallback", reason);
}

/** Runs a build, which `cancel` can end meanwhile. */
async function runJob<T>(job: number, task: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  jobs.set(job, controller);
  try {
    return await task(controller.signal);
  } finally {
    jobs.delete(job);
  }
}

const handlers = {
  configure(next: WorkerConfiguration): void {
    configuration = next;
  },

  buildFromDirectory({ job, directory }: { job: number; directory: string }): Promise<void> {
    return runJob(job, async () => {
      builtLayers.set(job, await buildFromDirectory(environment(job), directory));
    });
  },

  buildFromBlob(request: BlobBuild & { job: number }): Promise<AppliedBlob> {
    const { job } = request;
    return runJob(job, async (signal) => {
      const { layer, applied } = await buildFromBlob(environment(job), request, {
        isCancelled: () => signal.aborted,
        read: (offsetBytes, lengthBytes) =>
          channel.call<Uint8Array>("readBlob", { job, offsetBytes, lengthBytes }),
        openTar,
      });
      builtLayers.set(job, layer);
      return applied;
    });
  },

  /** Nobody waits for the build any more. */
  cancel(job: number): void {
    jobs.get(job)?.abort();
  },

  publish(job: number): PublishedLayer {
    const layer = builtLayers.get(job);
    builtLayers.delete(job);
    if (layer === undefined) throw new AppError("internal", `No layer was built by job ${job}`);
    return publish(environment(job), layer);
  },

  discard(ranges: readonly BlockRange[]): void {
    discardUncovered(database(), paths(), ranges);
  },

  /** The layers that stay, because they are in use. */
  deleteLayers(layerIds: readonly number[]): number[] {
    return deleteLayers(database(), paths(), layerIds);
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

  mount(request: MountRequest): void {
    verifyImage(request.identity);
    mountImage(request.files, request.target, request.mode);
  },

  unmount(target: string): void {
    unmountTarget(target);
  },
};

const channel = new ThreadChannel((message) => self.postMessage(message), handlers);
self.addEventListener("message", (event: MessageEvent<unknown>) => channel.receive(event.data));

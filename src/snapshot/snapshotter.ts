/**
 * The snapshotter: the operations of containerd's snapshot service over layers kept as images.
 *
 * Each operation that changes something has a file of its own; here is what they share, what only
 * reads, and the start.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { HoldCounts } from "../util/hold-counts.ts";
import { KeyedMutex } from "../util/keyed-mutex.ts";
import type { Logger } from "../util/logger.ts";
import { applyBlob } from "./apply.ts";
import { commitSnapshot } from "./commit.ts";
import { acquireChain, guardSteps, holderOf, requireSnapshot, shownChain } from "./context.ts";
import type { SnapshotContext } from "./context.ts";
import type {
  AppliedBlob,
  BlobNote,
  CommitOptions,
  Labels,
  LayerBlob,
  LayerClaims,
  LayerMounts,
  LayerStore,
  Mount,
  SnapshotInfo,
  SnapshotService,
  TreeWorker,
  Usage,
} from "./contract.ts";
import { targetLabel } from "./claim-labels.ts";
import { SnapshotDirectories } from "./directories.ts";
import { diskUsage } from "./disk-usage.ts";
import { isMissingFile, operationFailure } from "./failures.ts";
import { parseFilters, type SnapshotFilter } from "./filter.ts";
import type { SnapshotMetadata } from "./metadata.ts";
import { mountsFor, overlayParameters } from "./mounts.ts";
import { createSnapshot } from "./prepare.ts";
import { recover } from "./recover.ts";
import { RemovalQueue } from "./removal-queue.ts";
import { cleanUp, removeSnapshot } from "./remove.ts";
import { updateLabels } from "./update.ts";

export interface SnapshotterOptions {
  /** Absolute; the directories of snapshots are in `<root>/snapshots`. */
  readonly root: string;
  /** Stays the caller's to close, after `close`. */
  readonly metadata: SnapshotMetadata;
  readonly layerStore: LayerStore;
  /** Makes layers without their blobs; left out: every layer is pulled. */
  readonly claims?: LayerClaims | undefined;
  readonly mounts: LayerMounts;
  readonly log: Logger;
  /** Nanoseconds since 1970, as exact as the clock is. */
  readonly nowNs: () => bigint;
  /** False: layers are committed as plain directories, as containerd's overlay snapshotter does. */
  readonly conversionEnabled: boolean;
  readonly trees: TreeWorker;
  /** Opens a blob that was applied before, when its layer has to be made on another parent. */
  readonly openBlob: (note: BlobNote) => LayerBlob;
  /** A layer is about to be unpacked to a snapshot: its blob may be on the way. */
  readonly noteUnpacking?: () => void;
  /** Where the overlay module's parameters are; by default where the kernel has them. */
  readonly overlayParameters?: string;
}

export class Snapshotter implements SnapshotService {
  readonly #context: SnapshotContext;
  readonly #noteUnpacking: (() => void) | undefined;

  /**
   * Opens the snapshots below a root and deletes what the end before left behind. Throws
   * `invalid_argument` for an unusable root, `data_loss` where the database is not the one the
   * directories belong to.
   */
  constructor(options: SnapshotterOptions) {
    const { root, metadata, layerStore, trees, log } = options;
    const directories = new SnapshotDirectories(root, trees);
    const isLayerReferenced = (layerId: number) => metadata.isLayerReferenced(layerId);
    this.#context = {
      overlayParameters,
      claims: undefined,
      ...options,
      directories,
      queue: new RemovalQueue({ directories, layerStore, isLayerReferenced, log }),
      locks: new KeyedMutex(),
      parentHolds: new HoldCounts(),
      directoryHolds: new HoldCounts(),
    };
    this.#noteUnpacking = options.noteUnpacking;
    recover(this.#context);
  }

  prepare(key: string, parent: string, labels: Labels): Promise<Mount[]> {
    if (labels.has(targetLabel)) this.#noteUnpacking?.();
    return createSnapshot(this.#context, { kind: "active", key, parent, labels });
  }

  view(key: string, parent: string, labels: Labels): Promise<Mount[]> {
    return createSnapshot(this.#context, { kind: "view", key, parent, labels });
  }

  mounts(key: string): Promise<Mount[]> {
    const context = this.#context;
    return context.locks.run([key], async () => {
      const record = requireSnapshot(context.metadata, key);
      const { id, kind } = record;
      if (kind === "committed") {
        throw new AppError("failed_precondition", `Snapshot "${key}" is not active or a view`);
      }
      return await guardSteps(`Cannot mount snapshot "${key}"`, async () => {
        const readChain = () => shownChain(context.metadata, record);
        const chain = await acquireChain(context, id, readChain);
        return mountsFor(context, record, chain);
      });
    });
  }

  /** Undefined where the mounts are not of an active snapshot of ours that can take the blob. */
  applyBlob(
    mounts: readonly Mount[],
    blob: LayerBlob,
    signal: AbortSignal,
  ): Promise<AppliedBlob | undefined> {
    return applyBlob(this.#context, mounts, blob, signal);
  }

  commit(name: string, key: string, options: CommitOptions): Promise<void> {
    return commitSnapshot(this.#context, name, key, options);
  }

  remove(key: string): Promise<void> {
    return removeSnapshot(this.#context, key);
  }

  stat(key: string): SnapshotInfo {
    return requireSnapshot(this.#context.metadata, key);
  }

  update(name: string, labels: Labels, fieldPaths: readonly string[]): Promise<SnapshotInfo> {
    return updateLabels(this.#context, name, labels, fieldPaths);
  }

  list(filters: readonly string[]): Iterable<readonly SnapshotInfo[]> {
    // Apart from the generator, so that a bad filter throws here and not at the first page.
    return this.#pages(parseFilters(filters));
  }

  async usage(key: string): Promise<Usage> {
    const record = requireSnapshot(this.#context.metadata, key);
    if (record.kind !== "active") return record.usage;
    try {
      const own = await diskUsage(this.#context.directories.upper(record.id));
      const { sizeBytes, inodes } = record.usage;
      return { sizeBytes: own.sizeBytes + sizeBytes, inodes: own.inodes + inodes };
    } catch (error) {
      const now = isMissingFile(error) ? this.#context.metadata.find(key) : record;
      // Committed or removed while we looked: the directory went, and the key with it.
      if (now?.id !== record.id) return requireSnapshot(this.#context.metadata, key).usage;
      throw operationFailure(`Cannot measure snapshot "${key}"`, error);
    }
  }

  cleanup(): Promise<void> {
    return cleanUp(this.#context);
  }

  /** By layer, the holders that must have it mounted: the snapshots on top of it. */
  layersInUse(): Map<number, readonly string[]> {
    const users = this.#context.metadata.layerUsers();
    return new Map([...users].map(([layerId, ids]) => [layerId, ids.map(holderOf)]));
  }

  /** Resolves when deletions in the background have ended. */
  close(): Promise<void> {
    return this.#context.queue.idle();
  }

  *#pages(filter: SnapshotFilter): Generator<readonly SnapshotInfo[]> {
    let afterId = 0;
    for (;;) {
      const page = this.#context.metadata.page(afterId, filter.narrow);
      const last = page.at(-1);
      if (last === undefined) return;
      afterId = last.id;
      const matching = page.filter((info) => filter.matches(info));
      if (matching.length > 0) yield matching;
    }
  }
}

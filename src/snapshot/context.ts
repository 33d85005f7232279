/** What the operations on snapshots share: the parts they work with and small steps of theirs. */
import { isDeepStrictEqual } from "node:util";
import { AppError } from "../errors.ts";
import type { HoldCounts } from "../util/hold-counts.ts";
import type { KeyedMutex } from "../util/keyed-mutex.ts";
import type { Logger } from "../util/logger.ts";
import type {
  BlobNote,
  LayerBlob,
  LayerClaims,
  LayerMounts,
  LayerStore,
  TreeWorker,
} from "./contract.ts";
import type { SnapshotDirectories } from "./directories.ts";
import { operationFailure } from "./failures.ts";
import type { SnapshotMetadata } from "./metadata.ts";
import { imagesOf } from "./mounts.ts";
import type { RemovalQueue } from "./removal-queue.ts";
import type { ChainLink, SnapshotRecord } from "./rows.ts";

export interface SnapshotContext {
  readonly metadata: SnapshotMetadata;
  readonly directories: SnapshotDirectories;
  readonly layerStore: LayerStore;
  /** Undefined: every layer is pulled. */
  readonly claims: LayerClaims | undefined;
  readonly mounts: LayerMounts;
  readonly queue: RemovalQueue;
  readonly log: Logger;
  /** Nanoseconds since 1970. */
  readonly nowNs: () => bigint;
  readonly conversionEnabled: boolean;
  readonly trees: TreeWorker;
  readonly openBlob: (note: BlobNote) => LayerBlob;
  readonly overlayParameters: string;
  /** By key or name: one operation at a time changes what a name stands for. */
  readonly locks: KeyedMutex;
  /** Snapshots that are about to get a child, so that they are not removed meanwhile. */
  readonly parentHolds: HoldCounts;
  /** Ids whose directory is being made before the metadata has them. */
  readonly directoryHolds: HoldCounts;
}

/** The name under which a snapshot holds the layers of its chain mounted. */
export function holderOf(snapshotId: number): string {
  return `snapshot-${snapshotId}`;
}

/** Throws `not_found`. */
export function requireSnapshot(metadata: SnapshotMetadata, name: string): SnapshotRecord {
  const record = metadata.find(name);
  if (record === undefined) throw new AppError("not_found", `Snapshot "${name}" does not exist`);
  return record;
}

/** The id of the committed snapshot `parent`; undefined for an empty name. */
export function requireParent(metadata: SnapshotMetadata, parent: string): number | undefined {
  if (parent === "") return undefined;
  const record = metadata.find(parent);
  if (record === undefined) throw new AppError("not_found", `Parent "${parent}" does not exist`);
  if (record.kind === "committed") return record.id;
  throw new AppError("invalid_argument", `Parent "${parent}" is not committed`);
}

/** What a snapshot shows below its own directory, nearest first. */
export function shownChain(metadata: SnapshotMetadata, record: SnapshotRecord): ChainLink[] {
  const { id, parentId, appliedLayerId: layerId } = record;
  const chain = metadata.chain(parentId);
  return layerId === undefined ? chain : [{ id, layer: { kind: "image", layerId } }, ...chain];
}

/**
 * Mounts the images of the chain and holds them for the snapshot.
 *
 * A layer may be given another image meanwhile (it is recompressed, or was lazy and is complete),
 * and the old one be gone before it is mounted: then the new one is.
 *
 * @param readChain the chain as it is now
 * @returns the chain that is mounted
 */
export async function acquireChain(
  { mounts }: SnapshotContext,
  snapshotId: number,
  readChain: () => ChainLink[],
): Promise<ChainLink[]> {
  for (;;) {
    const chain = readChain();
    const images = imagesOf(chain);
    try {
      if (images.length > 0) await mounts.acquire(holderOf(snapshotId), images);
      return chain;
    } catch (error) {
      if (isDeepStrictEqual(imagesOf(readChain()), images)) throw error;
    }
  }
}

/**
 * Runs the steps of an operation after its checks. What fails in them says nothing about the
 * arguments, so it reaches the client as a failure of ours.
 */
export async function guardSteps<T>(action: string, steps: () => Promise<T>): Promise<T> {
  try {
    return await steps();
  } catch (error) {
    throw operationFailure(action, error);
  }
}

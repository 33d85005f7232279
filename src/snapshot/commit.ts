/**
 * Commit: an active snapshot becomes a layer.
 *
 * Order: the image is published and durable, then one transaction makes the snapshot committed,
 * then the directory goes. A process that dies before the transaction leaves an active snapshot
 * with its directory, and perhaps an image that the next start deletes; after it, a committed
 * snapshot, and perhaps a directory that the next start deletes.
 *
 * Where Apply has made the image already (apply.ts), only the transaction is left; unless the
 * snapshot now gets a parent on which the image has to be another one.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import { baseOn, dropLayer, hasLayer, isUntouched } from "./apply.ts";
import { guardSteps, holderOf, requireSnapshot, type SnapshotContext } from "./context.ts";
import type { BlobNote, CommitOptions, LayerState, Usage } from "./contract.ts";
import { isDetached, refuseLostDeletions } from "./detached.ts";
import { diskUsage } from "./disk-usage.ts";
import { reasonField } from "./failures.ts";
import { checkLabels, checkName } from "./limits.ts";
import type { SnapshotRecord } from "./rows.ts";

interface StoredLayer {
  readonly layer: LayerState;
  readonly usage: Usage;
  /** The layer store protects it until it is settled. */
  readonly isProtected: boolean;
}

export function commitSnapshot(
  context: SnapshotContext,
  name: string,
  key: string,
  options: CommitOptions,
): Promise<void> {
  checkName(name, "name");
  checkLabels(options.labels);
  return context.locks.run([name, key], () => commitLocked(context, name, key, options));
}

async function commitLocked(
  context: SnapshotContext,
  name: string,
  key: string,
  options: CommitOptions,
): Promise<void> {
  const { metadata, parentHolds } = context;
  const active = requireActive(context, name, key);
  const parentId = requireCommitParent(context, active, options.parent);
  using _parent = parentId === undefined ? undefined : parentHolds.hold(parentId);
  await refuseChangesOnTop(context, active);
  await guardSteps(`Cannot commit snapshot "${key}" as "${name}"`, async () => {
    const stored = await storeLayer(context, active, name, parentId);
    const { usage, isProtected } = stored;
    // In one step with the transaction: what is not protected may move at any time.
    const { appliedLayerId } = metadata.findById(active.id) ?? active;
    const layer = isProtected ? stored.layer : layerNow(appliedLayerId, stored.layer);
    const isImage = layer.kind === "image";
    try {
      const { labels } = options;
      const nowNs = context.nowNs();
      metadata.commit({ id: active.id, name, parentId, labels, nowNs, layer, usage });
      await metadata.durable();
    } catch (error) {
      if (isImage && isProtected) dropLayer(context, layer.layerId);
      throw error;
    }
    if (isImage && isProtected) context.layerStore.settle(layer.layerId);
    context.mounts.release(holderOf(active.id));
    if (isImage) context.queue.addDirectory(active.id);
    // Nobody's any more, if another one took its place.
    if (appliedLayerId !== undefined && isProtected) context.queue.addLayer(appliedLayerId);
  });
}

/** An applied layer may have been given another number since the snapshot was looked at. */
function layerNow(appliedLayerId: number | undefined, layer: LayerState): LayerState {
  return appliedLayerId === undefined ? layer : { kind: "image", layerId: appliedLayerId };
}

/** In the order of containerd's checks. */
function requireActive(context: SnapshotContext, name: string, key: string): SnapshotRecord {
  const record = requireSnapshot(context.metadata, key);
  if (context.metadata.find(name) !== undefined) {
    throw new AppError("already_exists", `Committed snapshot "${name}" is there already`);
  }
  if (record.kind === "active") return record;
  throw new AppError("failed_precondition", `Snapshot "${key}" is not active`);
}

/**
 * An applied layer and changes on top of it are two layers, and a commit makes one. To merge them
 * would take a mount and a full copy; no client of containerd writes between Apply and Commit.
 */
async function refuseChangesOnTop(context: SnapshotContext, active: SnapshotRecord): Promise<void> {
  if (!hasLayer(active) || (await isUntouched(context, active))) return;
  const problem = `Snapshot "${active.name}" was written to after a layer was applied to it`;
  throw new AppError("failed_precondition", problem, {
    remedy: "commit a snapshot right after Apply; make changes in another one on top of it",
  });
}

/** The parent the committed snapshot gets: one it was not prepared with, only if it had none. */
function requireCommitParent(
  { metadata }: SnapshotContext,
  active: SnapshotRecord,
  parent: string,
): number | undefined {
  if (parent === "" || parent === active.parent) return active.parentId;
  if (active.parent !== "") {
    const problem = `Snapshot "${active.name}" has a parent, which a commit cannot change`;
    throw new AppError("invalid_argument", problem);
  }
  if (!hasLayer(active)) refuseLostDeletions(active);
  const record = metadata.find(parent);
  if (record === undefined) throw new AppError("not_found", `Parent "${parent}" does not exist`);
  if (record.kind === "committed") return record.id;
  throw new AppError("failed_precondition", `Parent "${parent}" is not committed`);
}

async function storeLayer(
  context: SnapshotContext,
  active: SnapshotRecord,
  name: string,
  parentId: number | undefined,
): Promise<StoredLayer> {
  const { appliedLayerId, appliedBlob } = active;
  const isMoved = isDetached(active) || parentId !== active.parentId;
  if (appliedBlob !== undefined && (isMoved || appliedLayerId === undefined)) {
    return rebaseLayer(context, active, appliedBlob, parentId);
  }
  if (appliedLayerId !== undefined) {
    const layer = { kind: "image", layerId: appliedLayerId } as const;
    return { layer, usage: active.usage, isProtected: false };
  }
  if (!context.conversionEnabled) return storePlain(context, active, "conversion is switched off");
  try {
    return await storeImage(context, active, name);
  } catch (error) {
    // Whoever cancelled, such as a daemon that stops, did not ask for a plain layer.
    if (error instanceof AppError && error.code === "cancelled") throw error;
    const fields = { snapshot: active.id, layer: name, ...reasonField(error) };
    context.log.warn(fields, `layer ${name} stays a plain directory`);
    return storePlain(context, active, describeError(error));
  }
}

/** The layer of the blob on the parent it gets; mostly the one that Apply made without it. */
async function rebaseLayer(
  context: SnapshotContext,
  active: SnapshotRecord,
  note: BlobNote,
  parentId: number | undefined,
): Promise<StoredLayer> {
  const { layerStore, openBlob } = context;
  const base = await baseOn(context, active.id, parentId);
  const { signal } = new AbortController();
  const found = await layerStore.find(note, base);
  const built = found ?? (await layerStore.apply(openBlob(note), base, signal));
  const { layerId, addedBytes, inodes } = built;
  const usage =
    layerId === active.appliedLayerId ? active.usage : { sizeBytes: addedBytes, inodes };
  return { layer: { kind: "image", layerId }, usage, isProtected: true };
}

async function storeImage(
  { layerStore, directories, log }: SnapshotContext,
  active: SnapshotRecord,
  name: string,
): Promise<StoredLayer> {
  log.info(
    { snapshot: active.id, layer: name },
    `detected new layer ${name}, auto-converting to EROFS`,
  );
  const converted = await layerStore.convert(directories.upper(active.id), name);
  const { layerId, addedBytes, inodes, reused } = converted;
  log.info(
    { snapshot: active.id, layer: name, layerId, addedBytes, inodes },
    reused
      ? `layer ${name} already has erofs image, skip conversion`
      : `successfully auto-converted layer ${name}`,
  );
  const usage = { sizeBytes: addedBytes, inodes };
  return { layer: { kind: "image", layerId }, usage, isProtected: true };
}

async function storePlain(
  { directories, trees }: SnapshotContext,
  active: SnapshotRecord,
  reason: string,
): Promise<StoredLayer> {
  const directory = directories.upper(active.id);
  const usage = await diskUsage(directory);
  await trees.syncFilesystem(directory);
  return { layer: { kind: "plain", reason }, usage, isProtected: false };
}

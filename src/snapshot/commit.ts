/**
 * Commit: an active snapshot becomes a layer.
 *
 * Order: the image is published and durable, then one transaction makes the snapshot committed,
 * then the directory goes. A process that dies before the transaction leaves an active snapshot
 * with its directory, and perhaps an image that the next start deletes; after it, a committed
 * snapshot, and perhaps a directory that the next start deletes.
 *
 * Where Apply has made the image already (apply.ts), only the transaction is left.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import { isUntouched } from "./apply.ts";
import { guardSteps, holderOf, requireSnapshot, type SnapshotContext } from "./context.ts";
import type { CommitOptions, LayerState, Usage } from "./contract.ts";
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
    const stored = await storeLayer(context, active, name);
    const { usage, isProtected } = stored;
    // In one step with the transaction: what is not protected may move at any time.
    const layer = isProtected ? stored.layer : layerNow(context, active, stored.layer);
    const isImage = layer.kind === "image";
    try {
      const { labels } = options;
      const nowNs = context.nowNs();
      metadata.commit({ id: active.id, name, parentId, labels, nowNs, layer, usage });
      await metadata.durable();
    } catch (error) {
      if (isImage && isProtected) dropImage(context, layer.layerId);
      throw error;
    }
    if (isImage && isProtected) context.layerStore.settle(layer.layerId);
    context.mounts.release(holderOf(active.id));
    if (isImage) context.queue.addDirectory(active.id);
  });
}

/** An applied layer may have been given another number since the snapshot was looked at. */
function layerNow({ metadata }: SnapshotContext, { id }: SnapshotRecord, layer: LayerState) {
  const layerId = metadata.findById(id)?.appliedLayerId;
  return layerId === undefined ? layer : ({ kind: "image", layerId } as const);
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
  if (active.appliedLayerId === undefined || (await isUntouched(context, active))) return;
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
  if (active.appliedLayerId !== undefined) {
    // What a layer without a parent deletes was not kept: there was nothing to delete it from.
    const problem = `A layer was applied to snapshot "${active.name}" as one without a parent`;
    throw new AppError("failed_precondition", problem);
  }
  const record = metadata.find(parent);
  if (record === undefined) throw new AppError("not_found", `Parent "${parent}" does not exist`);
  if (record.kind === "committed") return record.id;
  throw new AppError("failed_precondition", `Parent "${parent}" is not committed`);
}

async function storeLayer(
  context: SnapshotContext,
  active: SnapshotRecord,
  name: string,
): Promise<StoredLayer> {
  if (active.appliedLayerId !== undefined) {
    const layer = { kind: "image", layerId: active.appliedLayerId } as const;
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

/** The transaction failed: no snapshot came to refer to the image. */
function dropImage({ layerStore, queue }: SnapshotContext, layerId: number): void {
  layerStore.settle(layerId);
  queue.addLayer(layerId);
}

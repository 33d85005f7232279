/**
 * Apply: an active snapshot gets the content of a layer blob, without a file being unpacked.
 *
 * Order: the image is published and durable, then one transaction notes it with the active
 * snapshot, then Apply answers. From then on the image is the snapshot's, as if the files lay in
 * its directory: mounts show it, Commit makes it the layer, Remove deletes it. A process that dies
 * before the transaction leaves an image no snapshot refers to, which the next start deletes.
 *
 * The directory of the snapshot stays empty. Where it is not, somebody wrote to it before, and the
 * blob is left to a differ that unpacks.
 *
 * A snapshot without a parent may get one by Commit (detached.ts). So its blob is noted as well: if
 * the layer turns out otherwise on the parent, Commit makes it again; and where it cannot be made
 * without the layers below, Apply only looks at the blob and leaves the making to Commit.
 *
 * @module
 */
import { readdir, stat } from "node:fs/promises";
import { AppError } from "../errors.ts";
import { acquireChain, type SnapshotContext } from "./context.ts";
import type { AppliedBlob, BlobLayer, LayerBlob, LayerBase, Mount } from "./contract.ts";
import { isDetached } from "./detached.ts";
import { idOfDirectory, type SnapshotDirectories } from "./directories.ts";
import { layerDirectory } from "./mounts.ts";
import type { SnapshotRecord } from "./rows.ts";

/** Undefined where the mounts are not of an active snapshot of ours that can take the blob. */
export async function applyBlob(
  context: SnapshotContext,
  mounts: readonly Mount[],
  blob: LayerBlob,
  signal: AbortSignal,
): Promise<AppliedBlob | undefined> {
  const id = snapshotIdOf(context.directories, mounts);
  const found = id === undefined ? undefined : context.metadata.findById(id);
  if (found?.kind !== "active" || !context.conversionEnabled) return undefined;
  return context.locks.run([found.name], async () => {
    // Committed or removed while we waited.
    const active = context.metadata.findById(found.id);
    if (active?.kind === "active") return applyLocked(context, active, blob, signal);
    throw new AppError("not_found", `Active snapshot "${found.name}" does not exist`);
  });
}

/** The snapshot whose directory a mount writes to; mounts of several parts are not ours. */
export function snapshotIdOf(
  directories: SnapshotDirectories,
  mounts: readonly Mount[],
): number | undefined {
  const [mount, ...others] = mounts;
  if (mount === undefined || others.length > 0) return undefined;
  const prefix = "upperdir=";
  const upperOption = mount.options.find((option) => option.startsWith(prefix));
  const path = mount.type === "overlay" ? upperOption?.slice(prefix.length) : mount.source;
  const name = path?.slice(directories.path.length + 1).split("/")[0] ?? "";
  const id = idOfDirectory(name);
  return id !== undefined && path === directories.upper(id) ? id : undefined;
}

/** Whether nobody has written to the snapshot's directory. */
export async function isUntouched(
  { directories }: SnapshotContext,
  { id }: SnapshotRecord,
): Promise<boolean> {
  return (await readdir(directories.upper(id))).length === 0;
}

async function applyLocked(
  context: SnapshotContext,
  active: SnapshotRecord,
  blob: LayerBlob,
  signal: AbortSignal,
): Promise<AppliedBlob | undefined> {
  const { layerStore } = context;
  const untouched = await isUntouched(context, active);
  if (!untouched && !hasLayer(active)) return undefined;
  if (!untouched) throw cannotApplyOnTop(active);
  const base = await baseOf(context, active);
  const layer = await build(context, blob, base, signal);
  try {
    // The same blob once more: a client that did not get the answer asks again.
    // Looked at again, because a layer may be given another number meanwhile.
    const now = context.metadata.findById(active.id) ?? active;
    if (!hasLayer(now)) await noteLayer(context, active, blob, layer);
    else if (!isSame(now, blob, layer)) throw cannotApplyOnTop(active);
  } catch (error) {
    if (layer.layerId !== undefined) dropLayer(context, layer.layerId);
    throw error;
  }
  if (layer.layerId !== undefined) layerStore.settle(layer.layerId);
  return { diffId: layer.diffId, tarBytes: layer.tarBytes };
}

/** Whether a layer was applied to the snapshot. */
export function hasLayer({ appliedLayerId, appliedBlob }: SnapshotRecord): boolean {
  return appliedLayerId !== undefined || appliedBlob !== undefined;
}

/** No snapshot came to refer to the layer. */
export function dropLayer({ layerStore, queue }: SnapshotContext, layerId: number): void {
  layerStore.settle(layerId);
  queue.addLayer(layerId);
}

/** A layer, or what is known of one that has to wait for its parent. */
type Applied = BlobLayer | (AppliedBlob & { readonly layerId?: undefined });

async function build(
  { layerStore, log }: SnapshotContext,
  blob: LayerBlob,
  base: LayerBase,
  signal: AbortSignal,
): Promise<Applied> {
  try {
    return await layerStore.apply(blob, base, signal);
  } catch (error) {
    const needsLower = error instanceof AppError && error.code === "failed_precondition";
    if (base.lower !== "unknown" || !needsLower) throw error;
    const fields = { blob: blob.digest, reason: error.message };
    log.info(fields, `layer ${blob.digest} is converted when it is committed`);
    return await layerStore.inspect(blob, signal);
  }
}

function isSame(active: SnapshotRecord, blob: LayerBlob, { layerId }: Applied): boolean {
  if (layerId !== undefined || active.appliedLayerId !== undefined) {
    return active.appliedLayerId === layerId;
  }
  return active.appliedBlob?.digest === blob.digest;
}

async function noteLayer(
  { metadata, nowNs }: SnapshotContext,
  { id, parentId }: SnapshotRecord,
  blob: LayerBlob,
  layer: Applied,
): Promise<void> {
  const note = parentId === undefined ? blob : undefined;
  const { layerId } = layer;
  const usage =
    layer.layerId === undefined
      ? { sizeBytes: 0, inodes: 0 }
      : { sizeBytes: layer.addedBytes, inodes: layer.inodes };
  metadata.apply({ id, layerId, blob: note, nowNs: nowNs(), usage });
  await metadata.durable();
}

/** What the layer lies on: its own directory says which attributes its root has by itself. */
async function baseOf(context: SnapshotContext, active: SnapshotRecord): Promise<LayerBase> {
  const { mode, uid, gid } = await stat(context.directories.upper(active.id));
  const root = { mode, uid, gid };
  if (isDetached(active)) return { root, lower: "unknown" };
  return { root, lower: await lowerOf(context, active.id, active.parentId) };
}

/** What the layer of a snapshot lies on that gets this parent. */
export async function baseOn(
  context: SnapshotContext,
  snapshotId: number,
  parentId: number | undefined,
): Promise<LayerBase> {
  const lower = await lowerOf(context, snapshotId, parentId);
  const { mode, uid, gid } = await stat(lower[0] ?? context.directories.upper(snapshotId));
  return { root: { mode, uid, gid }, lower };
}

/** The directories of the parent and its ancestors, mounted and held for the snapshot. */
async function lowerOf(
  context: SnapshotContext,
  snapshotId: number,
  parentId: number | undefined,
): Promise<string[]> {
  const readChain = () => context.metadata.chain(parentId);
  const chain = await acquireChain(context, snapshotId, readChain);
  return [...new Set(chain.map((link) => layerDirectory(context, link)))];
}

function cannotApplyOnTop({ name }: SnapshotRecord): AppError {
  const problem = `Snapshot "${name}" has a layer applied to it, and takes no other on top`;
  return new AppError("failed_precondition", problem, {
    remedy: "commit the snapshot and prepare another on it",
  });
}

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
 * @module
 */
import { readdir, stat } from "node:fs/promises";
import { AppError } from "../errors.ts";
import { acquireChain, type SnapshotContext } from "./context.ts";
import type { AppliedBlob, BlobLayer, LayerBlob, LayerBase, Mount } from "./contract.ts";
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
  const { layerStore, queue } = context;
  const untouched = await isUntouched(context, active);
  if (!untouched && active.appliedLayerId === undefined) return undefined;
  if (!untouched) throw cannotApplyOnTop(active);
  const layer = await layerStore.apply(blob, await baseOf(context, active), signal);
  try {
    // The same blob once more: a client that did not get the answer asks again.
    // Looked at again, because a layer may be given another number meanwhile.
    const now = context.metadata.findById(active.id) ?? active;
    if (now.appliedLayerId === undefined) await noteLayer(context, active, layer);
    else if (now.appliedLayerId !== layer.layerId) throw cannotApplyOnTop(active);
  } catch (error) {
    layerStore.settle(layer.layerId);
    queue.addLayer(layer.layerId);
    throw error;
  }
  layerStore.settle(layer.layerId);
  return { diffId: layer.diffId, tarBytes: layer.tarBytes };
}

async function noteLayer(
  { metadata, nowNs }: SnapshotContext,
  { id }: SnapshotRecord,
  { layerId, addedBytes, inodes }: BlobLayer,
): Promise<void> {
  const usage = { sizeBytes: addedBytes, inodes };
  metadata.apply({ id, layerId, nowNs: nowNs(), usage });
  await metadata.durable();
}

/** What the layer lies on: its own directory says which attributes its root has by itself. */
async function baseOf(context: SnapshotContext, active: SnapshotRecord): Promise<LayerBase> {
  const { id, parentId } = active;
  const chain = context.metadata.chain(parentId);
  await acquireChain(context, id, chain);
  const { mode, uid, gid } = await stat(context.directories.upper(id));
  const lower = new Set(chain.map((link) => layerDirectory(context, link)));
  return { root: { mode, uid, gid }, lower: [...lower] };
}

function cannotApplyOnTop({ name }: SnapshotRecord): AppError {
  const problem = `Snapshot "${name}" has a layer applied to it, and takes no other on top`;
  return new AppError("failed_precondition", problem, {
    remedy: "commit the snapshot and prepare another on it",
  });
}

/**
 * Remove and Cleanup.
 *
 * Remove takes the snapshot out of the metadata; what it leaves behind is deleted afterwards, in
 * the background. A process that dies in between leaves a directory and an image that the next
 * start deletes.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { guardSteps, holderOf, requireSnapshot, type SnapshotContext } from "./context.ts";
import { idOfDirectory } from "./directories.ts";

export function removeSnapshot(context: SnapshotContext, key: string): Promise<void> {
  return context.locks.run([key], () => removeLocked(context, key));
}

async function removeLocked(context: SnapshotContext, key: string): Promise<void> {
  const { metadata, parentHolds, mounts, queue } = context;
  const { id, layer, appliedLayerId } = requireSnapshot(metadata, key);
  if (metadata.hasChildren(id) || parentHolds.isHeld(id)) {
    throw new AppError("failed_precondition", `Cannot remove snapshot "${key}" with children`);
  }
  await guardSteps(`Cannot remove snapshot "${key}"`, async () => {
    metadata.remove(id);
    await metadata.durable();
  });
  mounts.release(holderOf(id));
  if (layer?.kind === "image") queue.addLayer(layer.layerId);
  else queue.addDirectory(id);
  if (appliedLayerId !== undefined) queue.addLayer(appliedLayerId);
}

/** Resolves when everything is deleted that belongs to no snapshot, as of the call. */
export async function cleanUp(context: SnapshotContext): Promise<void> {
  const { metadata, directories, layerStore, queue } = context;
  await guardSteps("Cannot clean up", async () => {
    await queue.idle();
    const names = await directories.list();
    const orphans = orphansAmong(context, names);
    // What a transaction gave up must not go before the transaction is on disk.
    await metadata.durable();
    for (const name of orphans) queue.addDirectory(name);
    await queue.idle();
    // Layers that were in use when they were given up may be free by now.
    await layerStore.release([]);
  });
}

/** The names in the folder of snapshots that no snapshot, present or in the making, owns. */
export function orphansAmong(context: SnapshotContext, names: readonly string[]): string[] {
  const owned = context.metadata.directoryIds();
  return names.filter((name) => {
    const id = idOfDirectory(name);
    return id === undefined || !(owned.has(id) || context.directoryHolds.isHeld(id));
  });
}

/**
 * The root folder, opened: locked, its databases verified and found to belong together.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { AppError } from "./errors.ts";
import { SnapshotMetadata } from "./snapshot/metadata.ts";
import {
  allLayerIds,
  endOfPack,
  openIndex,
  rootId,
  usedPacks,
  verifyIndex,
} from "./store/index-database.ts";
import { PackAllocator, verifyPackFile } from "./store/pack-allocator.ts";
import { storePaths, type StorePaths } from "./store/paths.ts";
import { tryLockRoot } from "./store/root-lock.ts";

/** Under which key snapshots.db keeps the identity of the index it belongs to. */
const rootIdKey = "root_id";

export interface OpenRoot {
  readonly paths: StorePaths;
  /** For reading; worker threads write through connections of their own. */
  readonly index: Database;
  readonly metadata: SnapshotMetadata;
  readonly allocator: PackAllocator;
  /** The last daemon on this root did not stop in order. */
  readonly wasInterrupted: boolean;
  /** @param isInOrder nothing is under construction any more */
  close(isInOrder: boolean): Promise<void>;
}

/**
 * Opens the root, makes it where it is missing.
 *
 * @param onLocked is waited for before the databases are opened, which takes long after a crash
 * @throws AppError `failed_precondition` where another process has it; `data_loss`, with the name
 *   of the file and the remedy, where something is damaged or missing
 */
export async function openRoot(
  path: string,
  onLocked: () => Promise<void> = () => Promise.resolve(),
): Promise<OpenRoot> {
  const paths = storePaths(path);
  const lock = tryLockRoot(paths);
  if (lock === undefined) {
    throw new AppError("failed_precondition", `Another process works on root "${path}"`, {
      remedy: "stop the other daemon, or wait for `check` to end, or give this one another root",
    });
  }
  for (const folder of [paths.images, paths.packs, paths.mounts]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  await onLocked();
  const index = openIndex(paths.indexDatabase);
  verifyIndex(index, paths.indexDatabase);
  const metadata = SnapshotMetadata.open(paths.snapshotDatabase);
  verifyIdentity(paths, index, metadata);
  const allocator = await openPacks(paths, index);
  const wasInterrupted = existsSync(paths.runningMarker);
  writeFileSync(paths.runningMarker, "");
  return {
    paths,
    index,
    metadata,
    allocator,
    wasInterrupted,
    close: async (isInOrder) => {
      await metadata.close();
      index.close();
      if (isInOrder) rmSync(paths.runningMarker, { force: true });
      lock[Symbol.dispose]();
    },
  };
}

/** The two databases belong together: going on with another one would delete what it lacks. */
function verifyIdentity(paths: StorePaths, index: Database, metadata: SnapshotMetadata): void {
  const known = metadata.value(rootIdKey);
  if (known === rootId(index)) return;
  const hasContent = allLayerIds(index).length > 0 || metadata.layerReferences().size > 0;
  if (known === undefined && !hasContent) {
    metadata.setValue(rootIdKey, rootId(index));
    return;
  }
  const problem = `"${paths.indexDatabase}" and "${paths.snapshotDatabase}" do not belong together`;
  throw new AppError("data_loss", problem, {
    remedy:
      "put back the one that was replaced or lost; to start from nothing, move the root folder " +
      "away and pull the images again",
  });
}

async function openPacks(paths: StorePaths, index: Database): Promise<PackAllocator> {
  for (const packId of usedPacks(index)) await verifyPackFile(paths, packId);
  const allocator = new PackAllocator(paths);
  await allocator.load((packId) => endOfPack(index, packId));
  return allocator;
}

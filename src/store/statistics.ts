/**
 * What the store holds and what it costs on disk: read from the index and from `st_blocks`.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { listLazyPacks } from "./lazy-layers.ts";
import { blockBytes } from "./layout.ts";
import { packPath, type StorePaths } from "./paths.ts";

export interface StoreStatistics {
  readonly images: number;
  readonly imageBytes: number;
  readonly chunksUnique: number;
  readonly chunkReferences: number;
  /** File content of all committed snapshots, as if each kept its own. */
  readonly logicalBytes: number;
  /** Disk space of packs, images and the databases. */
  readonly storedBytes: number;
  /** Images that have content in a pack of their own. */
  readonly lazyImages: number;
  /** About how much of it has still to be fetched: told by the disk space of the packs. */
  readonly missingBytes: number;
}

interface LayerContent {
  readonly id: number;
  readonly content_bytes: number;
  readonly chunk_uses: number;
}

/** @param references how many committed snapshots refer to each layer */
export function readStatistics(
  database: Database,
  paths: StorePaths,
  references: ReadonlyMap<number, number>,
): StoreStatistics {
  const chunks = database.query<{ count: number }, []>("SELECT count(*) AS count FROM chunks");
  const layers = database.query<LayerContent, []>(
    "SELECT id, content_bytes, chunk_uses FROM layers",
  );
  let logicalBytes = 0;
  let chunkReferences = 0;
  let images = 0;
  for (const layer of layers.iterate()) {
    images += 1;
    chunkReferences += layer.chunk_uses;
    logicalBytes += layer.content_bytes * (references.get(layer.id) ?? 0);
  }
  const imageBytes = diskUsageOf(paths.images);
  return {
    images,
    imageBytes,
    chunksUnique: chunks.get()?.count ?? 0,
    chunkReferences,
    logicalBytes,
    storedBytes: imageBytes + diskUsageOf(paths.packs) + databaseUsage(paths),
    ...lazyStatistics(database, paths),
  };
}

function lazyStatistics(
  database: Database,
  paths: StorePaths,
): Pick<StoreStatistics, "lazyImages" | "missingBytes"> {
  const packs = listLazyPacks(database);
  let missingBytes = 0;
  for (const { pack, content_blocks: blocks, complete } of packs) {
    if (complete === 1) continue;
    missingBytes += Math.max(0, blocks * blockBytes - diskUsage(packPath(paths, pack)));
  }
  return { lazyImages: packs.length, missingBytes };
}

function databaseUsage(paths: StorePaths): number {
  let bytes = 0;
  for (const database of [paths.indexDatabase, paths.snapshotDatabase]) {
    for (const suffix of ["", "-wal", "-shm"]) bytes += diskUsage(database + suffix);
  }
  return bytes;
}

function diskUsageOf(directory: string): number {
  let bytes = 0;
  for (const name of readdirSync(directory)) bytes += diskUsage(join(directory, name));
  return bytes;
}

/** 0 for a file that is gone. */
function diskUsage(path: string): number {
  return (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
}

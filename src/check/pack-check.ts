/** Whether the packs hold what the index says. */
import type { Database } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { toHex } from "../util/bytes.ts";
import { ChunkReader } from "../store/chunk-reader.ts";
import { usedPacks, type ChunkRow } from "../store/index-database.ts";
import { blockOfPlace, packBytesOf, packOffsetBytes, placesOfPack } from "../store/layout.ts";
import { packPath, type StorePaths } from "../store/paths.ts";
import { repairsOfChunk, type Repair, type Report } from "./finding.ts";

const sha256Bytes = 32;

/** @param progress is told the number of bytes hashed, now and then */
export interface PackCheckOptions {
  readonly readsData: boolean;
  readonly progress: (bytes: number) => void;
}

export function checkPacks(
  database: Database,
  paths: StorePaths,
  options: PackCheckOptions,
  report: Report,
): void {
  for (const packId of usedPacks(database)) {
    const path = packPath(paths, packId);
    const problem = problemOfFile(path, packBytesOf(packId));
    if (problem !== undefined) {
      report({ subject: path, problem, repairs: repairsOfPack(database, packId) });
    } else if (options.readsData) {
      checkContent(database, paths, packId, options.progress, report);
    }
  }
}

function problemOfFile(path: string, sizeBytes: number): string | undefined {
  if (!existsSync(path)) return "is missing, but layers have content in it";
  const { size } = statSync(path);
  return size === sizeBytes ? undefined : `has ${size} bytes instead of ${sizeBytes}`;
}

function repairsOfPack(database: Database, packId: number): Repair[] {
  const layers = database
    .query<{ layer: number }, [number, number]>(
      "SELECT DISTINCT layer FROM layer_chunks WHERE place >= ? AND place < ?",
    )
    .all(...placesOfPack(packId));
  return layers.map((row) => ({ kind: "give_up_layer", layerId: row.layer }));
}

function checkContent(
  database: Database,
  paths: StorePaths,
  packId: number,
  progress: (bytes: number) => void,
  report: Report,
): void {
  const path = packPath(paths, packId);
  const hash = new Uint8Array(sha256Bytes);
  const chunks = database
    .query<ChunkRow, [number, number]>(
      "SELECT * FROM chunks WHERE place >= ? AND place < ? ORDER BY place",
    )
    .iterate(...placesOfPack(packId));
  using reader = new ChunkReader(database, path);
  for (const chunk of chunks) {
    const content = reader.read(chunk);
    progress(chunk.size_bytes);
    if (content !== undefined) Bun.SHA256.hash(content, hash);
    if (content !== undefined && Buffer.compare(hash, chunk.sha256) === 0) continue;
    const offset = packOffsetBytes(blockOfPlace(chunk.place));
    report({
      subject: `chunk ${toHex(chunk.sha256)} in ${path} at byte ${offset}`,
      problem: "holds other bytes than it should",
      repairs: repairsOfChunk(database, chunk.place),
    });
  }
}

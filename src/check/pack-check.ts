/** Whether the packs hold what the index says. */
import type { Database } from "bun:sqlite";
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { toHex } from "../util/bytes.ts";
import type { ChunkRow } from "../store/index-database.ts";
import { usedPacks } from "../store/index-database.ts";
import { firstBlockOfPack, packBlocks, packBytes, packOffsetBytes } from "../store/layout.ts";
import { packPath, type StorePaths } from "../store/paths.ts";
import type { Repair, Report } from "./finding.ts";

const chunkBytesMax = 64 * 1024 * 1024;

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
    const problem = problemOfFile(path);
    if (problem !== undefined) {
      report({ subject: path, problem, repairs: repairsOfPack(database, packId) });
    } else if (options.readsData) {
      checkContent(database, paths, packId, options.progress, report);
    }
  }
}

function problemOfFile(path: string): string | undefined {
  if (!existsSync(path)) return "is missing, but layers have content in it";
  const { size } = statSync(path);
  return size === packBytes ? undefined : `has ${size} bytes instead of ${packBytes}`;
}

function chunksOfPack(database: Database, packId: number): Iterable<ChunkRow> {
  const first = firstBlockOfPack(packId);
  return database
    .query<ChunkRow, [number, number]>(
      "SELECT * FROM chunks WHERE block >= ? AND block < ? ORDER BY block",
    )
    .iterate(first, first + packBlocks);
}

function repairsOfPack(database: Database, packId: number): Repair[] {
  const first = firstBlockOfPack(packId);
  const layers = database
    .query<{ layer: number }, [number, number]>(
      "SELECT DISTINCT layer FROM layer_chunks WHERE block >= ? AND block < ?",
    )
    .all(first, first + packBlocks);
  return layers.map((row) => ({ kind: "give_up_layer", layerId: row.layer }));
}

/** Layers that use a chunk must go before it, or their image would point to nothing. */
function repairsOfChunk(database: Database, block: number): Repair[] {
  const layers = database
    .query<{ layer: number }, [number]>("SELECT layer FROM layer_chunks WHERE block = ?")
    .all(block);
  const giveUp = layers.map((row): Repair => ({ kind: "give_up_layer", layerId: row.layer }));
  return [...giveUp, { kind: "forget_chunk", block }];
}

function checkContent(
  database: Database,
  paths: StorePaths,
  packId: number,
  progress: (bytes: number) => void,
  report: Report,
): void {
  const path = packPath(paths, packId);
  const file = openSync(path, "r");
  const buffer = Buffer.allocUnsafe(chunkBytesMax);
  const hash = new Uint8Array(32);
  try {
    for (const chunk of chunksOfPack(database, packId)) {
      const content = buffer.subarray(0, chunk.size_bytes);
      readSync(file, content, 0, content.length, packOffsetBytes(chunk.block));
      progress(content.length);
      Bun.SHA256.hash(content, hash);
      if (Buffer.compare(hash, chunk.sha256) === 0) continue;
      report({
        subject: `chunk ${toHex(chunk.sha256)} in ${path} at byte ${packOffsetBytes(chunk.block)}`,
        problem: "holds other bytes than it should",
        repairs: repairsOfChunk(database, chunk.block),
      });
    }
  } finally {
    closeSync(file);
  }
}

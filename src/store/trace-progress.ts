/**
 * How much of what a trace names is there: by the maps and the presence files of lazy packs, and by
 * the index. In a worker thread: a trace may have a million lines.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { Presence } from "../ondemand/presence.ts";
import { findChunks } from "./index-database.ts";
import { openPieces } from "./lazy-pack.ts";
import { packPath, type StorePaths } from "./paths.ts";

export interface TraceRequest {
  readonly packIds: readonly number[];
  /** SHA-256, hexadecimal. */
  readonly hashes: readonly string[];
}

/** Of the pieces that the trace names. */
export interface PackProgress {
  readonly packId: number;
  readonly pieces: number;
  readonly bytes: number;
  readonly presentPieces: number;
  readonly presentBytes: number;
}

export interface TraceProgress {
  /** Without packs that are gone: those became part of ordinary ones. */
  readonly packs: readonly PackProgress[];
  /** Hashes that neither the packs nor the node have. */
  readonly unknown: number;
}

export function traceProgress(
  database: Database,
  paths: StorePaths,
  { packIds, hashes }: TraceRequest,
): TraceProgress {
  const left = new Set(hashes);
  const packs = packIds.flatMap((packId) => progressOf(paths, packId, hashes, left) ?? []);
  const wanted = [...left].map((hash) => Buffer.from(hash, "hex"));
  findChunks(database, wanted, ({ sha256 }) => {
    left.delete(Buffer.from(sha256).toString("hex"));
  });
  return { packs, unknown: left.size };
}

/** Takes what it finds out of `left`. */
function progressOf(
  paths: StorePaths,
  packId: number,
  hashes: readonly string[],
  left: Set<string>,
): PackProgress | undefined {
  const map = mapOf(paths, packId);
  if (map === undefined) return undefined;
  const isPresent = Presence.read(packPath(paths, packId), map.length);
  const progress = { packId, pieces: 0, bytes: 0, presentPieces: 0, presentBytes: 0 };
  for (const hash of hashes) {
    const piece = map.find(Buffer.from(hash, "hex"));
    if (piece === undefined) continue;
    left.delete(hash);
    const sizeBytes = map.sizeOf(piece);
    progress.pieces += 1;
    progress.bytes += sizeBytes;
    if (!isPresent(piece)) continue;
    progress.presentPieces += 1;
    progress.presentBytes += sizeBytes;
  }
  return progress;
}

function mapOf(paths: StorePaths, packId: number): ReturnType<typeof openPieces> | undefined {
  try {
    return openPieces(paths, packId);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

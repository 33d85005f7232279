/**
 * The files of a lazy pack (ondemand/contract.ts).
 *
 * @module
 */
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs";
import { AppError } from "../errors.ts";
import { PieceMap } from "../ondemand/piece-map.ts";
import { Presence } from "../ondemand/presence.ts";
import { syncFolder } from "../util/sync-folder.ts";
import { storageError } from "./pack-writer.ts";
import { lazyPackFiles, packPath, piecesPath, type StorePaths } from "./paths.ts";

/**
 * Writes what belongs where in the pack, durably.
 *
 * @param bytes of `encodePieceMap`
 * @throws AppError `resource_exhausted` for a full disk
 */
export function writePieces(paths: StorePaths, packId: number, bytes: Uint8Array): void {
  const path = piecesPath(paths, packId);
  try {
    const file = openSync(path, "wx", 0o600);
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, bytes.length - at, at);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    syncFolder(paths.packs);
  } catch (error) {
    throw storageError(`write "${path}"`, error);
  }
}

/** Throws AppError `data_loss` where the file is damaged, an error of the system if it is gone. */
export function openPieces(paths: StorePaths, packId: number): PieceMap {
  const path = piecesPath(paths, packId);
  return new PieceMap(Bun.mmap(path, { shared: true }), path);
}

/**
 * Throws AppError `failed_precondition` unless all content is noted to be there and on disk. Asked
 * of the files of the pack, and not of who says so: that may be meant of another one, which had the
 * number before, and a pack that is taken for complete is read without asking.
 */
export function requireWholePack(paths: StorePaths, packId: number): void {
  const { length } = openPieces(paths, packId);
  if (Presence.isAllSynced(packPath(paths, packId), length)) return;
  throw new AppError("failed_precondition", `Lazy pack ${packId} has content to be fetched`);
}

/** Deletes all files of the pack; those that are not there are no error. */
export function deleteLazyPack(paths: StorePaths, packId: number): void {
  for (const path of lazyPackFiles(paths, packId)) rmSync(path, { force: true });
}

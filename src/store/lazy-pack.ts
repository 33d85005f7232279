/**
 * The files of a lazy pack (ondemand/contract.ts).
 *
 * @module
 */
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from "node:fs";
import { PieceMap } from "../ondemand/piece-map.ts";
import { presencePaths } from "../ondemand/presence.ts";
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

/** Deletes all files of the pack; those that are not there are no error. */
export function deleteLazyPack(paths: StorePaths, packId: number): void {
  for (const path of lazyPackFiles(paths, packId)) rmSync(path, { force: true });
}

/** Of a pack that nobody has open: nothing of it is known to be there then. */
export function deletePresence(paths: StorePaths, packId: number): void {
  const { have, synced } = presencePaths(packPath(paths, packId));
  for (const path of [have, synced]) rmSync(path, { force: true });
}

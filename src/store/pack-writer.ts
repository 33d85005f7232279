/**
 * Writes content to blocks of packs, from a worker thread.
 *
 * @module
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { seekHole, startWriteback } from "../../ffi/file.ts";
import { AppError, describeError } from "../errors.ts";
import { blockBytes, packOfBlock, packOffsetBytes, type BlockAddress } from "./layout.ts";
import { packPath, type StorePaths } from "./paths.ts";

export class PackWriter {
  readonly #paths: StorePaths;
  readonly #files = new Map<number, number>();

  constructor(paths: StorePaths) {
    this.#paths = paths;
  }

  /** Writes whole blocks; a full disk is `resource_exhausted`. */
  write(block: BlockAddress, bytes: Uint8Array): void {
    const packId = packOfBlock(block);
    const file = this.#open(packId);
    let position = packOffsetBytes(block);
    let at = 0;
    while (at < bytes.length) {
      const written = this.#guard(packId, () =>
        writeSync(file, bytes, at, bytes.length - at, position),
      );
      at += written;
      position += written;
    }
    // At once, not at the sync: the disk works while the next content is compressed.
    this.#guard(packId, () => startWriteback(file, packOffsetBytes(block), bytes.length));
  }

  /** Whether the file system has data in each of the blocks; lost content reads as zeros. */
  isAllocated(block: BlockAddress, count: number): boolean {
    const start = packOffsetBytes(block);
    const hole = seekHole(this.#open(packOfBlock(block)), start);
    return hole !== undefined && hole >= start + count * blockBytes;
  }

  /** Returns when all that was written is on the disk. */
  sync(): void {
    for (const [packId, file] of this.#files) this.#guard(packId, () => fdatasyncSync(file));
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }

  #open(packId: number): number {
    let file = this.#files.get(packId);
    if (file === undefined) {
      file = openSync(packPath(this.#paths, packId), "r+");
      this.#files.set(packId, file);
    }
    return file;
  }

  #guard<T>(packId: number, operation: () => T): T {
    try {
      return operation();
    } catch (error) {
      throw storageError(`write pack "${packPath(this.#paths, packId)}"`, error);
    }
  }
}

const fullDiskCodes = new Set(["ENOSPC", "EDQUOT", "SQLITE_FULL"]);

/** The error of a failed write, of its own class when the disk is full. */
export function storageError(action: string, cause: unknown): AppError {
  const code = (cause as { code?: unknown } | null)?.code;
  if (typeof code === "string" && fullDiskCodes.has(code)) {
    return new AppError("resource_exhausted", `Cannot ${action}: no space left on the disk`, {
      cause,
      remedy: "remove images or enlarge the file system of the root",
    });
  }
  return new AppError("internal", `Cannot ${action}: ${describeError(cause)}`, { cause });
}

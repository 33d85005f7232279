/**
 * Writes content to blocks of packs, from a worker thread.
 *
 * @module
 */
import { closeSync, fdatasyncSync, fstatSync, openSync, writeSync, writev } from "node:fs";
import { promisify } from "node:util";
import { seekHole, startWriteback } from "../../ffi/file.ts";
import { AppError, describeError } from "../errors.ts";
import { blockBytes, packOfBlock, packOffsetBytes, type BlockAddress } from "./layout.ts";
import { packPath, type StorePaths } from "./paths.ts";

const writevAsync = promisify(writev);
/** IOV_MAX of include/uapi/linux/uio.h (UIO_MAXIOV): buffers of one pwritev(2). */
const vectorsMax = 1024;

/** The number of bytes. */
async function writeAll(
  file: number,
  pieces: readonly Uint8Array[],
  start: number,
): Promise<number> {
  const left = [...pieces];
  let position = start;
  while (left.length > 0) {
    const written = await writevAsync(file, left.slice(0, vectorsMax), position);
    position += written.bytesWritten;
    dropWritten(left, written.bytesWritten);
  }
  return position - start;
}

/** Takes from the front of the pieces what was written, which may end within one. */
function dropWritten(pieces: Uint8Array[], writtenBytes: number): void {
  let count = 0;
  let rest = writtenBytes;
  while (count < pieces.length && rest >= pieces[count]!.length) rest -= pieces[count++]!.length;
  pieces.splice(0, count);
  if (rest > 0) pieces[0] = pieces[0]!.subarray(rest);
}

export class PackWriter {
  readonly #paths: StorePaths;
  readonly #files = new Map<number, number>();

  constructor(paths: StorePaths) {
    this.#paths = paths;
  }

  /**
   * Writes whole blocks, one piece behind the other; they must not change meanwhile. A full disk is
   * `resource_exhausted`. The copy to the page cache is made by a thread of the runtime.
   */
  async write(block: BlockAddress, pieces: readonly Uint8Array[]): Promise<void> {
    const packId = packOfBlock(block);
    const file = this.#open(packId);
    const start = packOffsetBytes(block);
    try {
      const lengthBytes = await writeAll(file, pieces, start);
      // At once, not at the sync: the disk works while the next content is compressed.
      startWriteback(file, start, lengthBytes);
    } catch (error) {
      throw this.#failure(packId, error);
    }
  }

  /** Writes whole blocks again where they were lost, at once. */
  restore(block: BlockAddress, bytes: Uint8Array): void {
    const packId = packOfBlock(block);
    const file = this.#open(packId);
    const start = packOffsetBytes(block);
    try {
      for (let at = 0; at < bytes.length;) {
        at += writeSync(file, bytes, at, bytes.length - at, start + at);
      }
    } catch (error) {
      throw this.#failure(packId, error);
    }
  }

  /** Whether the file system has data in each of the blocks; lost content reads as zeros. */
  isAllocated(block: BlockAddress, count: number): boolean {
    const start = packOffsetBytes(block);
    let file: number;
    try {
      file = this.#open(packOfBlock(block));
    } catch (error) {
      // The pack went with the last layer that had content in it.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw error;
    }
    const hole = seekHole(file, start);
    return hole !== undefined && hole >= start + count * blockBytes;
  }

  /** Returns when all that was written is on the disk. */
  sync(): void {
    for (const [packId, file] of this.#files) {
      try {
        fdatasyncSync(file);
      } catch (error) {
        throw this.#failure(packId, error);
      }
    }
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }

  /**
   * A pack that was only looked into may be deleted since, and its number be that of another one:
   * only what is reserved keeps a pack.
   */
  #open(packId: number): number {
    const known = this.#files.get(packId);
    if (known !== undefined && fstatSync(known).nlink > 0) return known;
    if (known !== undefined) closeSync(known);
    this.#files.delete(packId);
    const file = openSync(packPath(this.#paths, packId), "r+");
    this.#files.set(packId, file);
    return file;
  }

  #failure(packId: number, cause: unknown): AppError {
    return storageError(`write pack "${packPath(this.#paths, packId)}"`, cause);
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

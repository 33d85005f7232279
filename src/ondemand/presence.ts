/**
 * Which pieces of a lazy pack are there: a bit for each, in a file that all threads of dedupd map.
 *
 * The page cache survives the death of a process but not of the machine, so there are two files.
 * `<id>.have` is mapped and changed at once; it begins with the boot it belongs to, and is believed
 * in that boot only. `<id>.synced` is what was known to be on disk: it is written after the pack
 * was synced, and a new boot begins with it. What is lost in between is fetched again.
 *
 * One thread sets bits; the others read.
 *
 * @module
 */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync } from "node:fs";
import { ftruncateSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { AppError } from "../errors.ts";
import { syncFolder } from "../util/sync-folder.ts";

const headerBytes = 64;
const bootIdPath = "/proc/sys/kernel/random/boot_id";

/** Of the pack at `path`, `<id>.pack`. */
export function presencePaths(path: string): { readonly have: string; readonly synced: string } {
  const stem = path.replace(/\.pack$/, "");
  return { have: `${stem}.have`, synced: `${stem}.synced` };
}

/** Which pieces are there, for those who only want to know. */
export class PresenceBits {
  protected readonly bits: Uint8Array;
  readonly #count: number;

  /** @param mapped the file `<id>.have` */
  constructor(mapped: Uint8Array, count: number) {
    this.bits = mapped.subarray(headerBytes);
    this.#count = count;
  }

  has(piece: number): boolean {
    return (this.bits[piece >>> 3]! & (1 << (piece & 7))) !== 0;
  }

  /** The first piece from `from` on, below `end`, that is not there; undefined for none. */
  firstMissing(from: number, end = this.#count): number | undefined {
    for (let piece = from; piece < end; piece++) {
      if ((piece & 7) === 0 && this.bits[piece >>> 3] === 0xff) piece += 7;
      else if (!this.has(piece)) return piece;
    }
    return undefined;
  }

  get isComplete(): boolean {
    return this.firstMissing(0) === undefined;
  }
}

export class Presence extends PresenceBits {
  readonly #syncedPath: string;

  private constructor(mapped: Uint8Array, syncedPath: string, count: number) {
    super(mapped, count);
    this.#syncedPath = syncedPath;
  }

  /**
   * @param packPath of the pack, whose files lie beside it
   * @param count of its pieces
   * @throws AppError `data_loss` where a file has another size than the pieces need
   */
  static open(packPath: string, count: number): Presence {
    const { have, synced } = presencePaths(packPath);
    const sizeBytes = headerBytes + Math.ceil(count / 8);
    const bootId = readFileSync(bootIdPath, "latin1").trim();
    if (!isOfThisBoot(have, bootId)) makeHave(have, bootId, readSynced(synced, sizeBytes));
    const mapped = Bun.mmap(have, { shared: true });
    if (mapped.length !== sizeBytes) {
      throw new AppError("data_loss", `"${have}" has ${mapped.length} bytes, not ${sizeBytes}`);
    }
    return new Presence(mapped, synced, count);
  }

  /** Call after the content is in the pack. */
  set(piece: number): void {
    this.bits[piece >>> 3]! |= 1 << (piece & 7);
  }

  /** A copy of the bits, to be given to `writeSynced` after the pack was synced. */
  snapshot(): Uint8Array {
    return Uint8Array.from(this.bits);
  }

  /** Makes the next boot begin with these bits. */
  writeSynced(bits: Uint8Array): void {
    replaceFile(this.#syncedPath, bits);
  }
}

function isOfThisBoot(path: string, bootId: string): boolean {
  if (!existsSync(path)) return false;
  return readFileSync(path).subarray(0, bootId.length).toString("latin1") === bootId;
}

function readSynced(path: string, sizeBytes: number): Uint8Array {
  const bits = new Uint8Array(sizeBytes - headerBytes);
  if (!existsSync(path)) return bits;
  const found = readFileSync(path);
  if (found.length === bits.length) return found;
  throw new AppError("data_loss", `"${path}" has ${found.length} bytes, not ${bits.length}`);
}

function makeHave(path: string, bootId: string, bits: Uint8Array): void {
  const header = new Uint8Array(headerBytes);
  header.set(new TextEncoder().encode(bootId));
  replaceFile(path, Buffer.concat([header, bits]));
}

/** All or nothing, also when the machine stops in between. */
function replaceFile(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.new`;
  const file = openSync(temporary, "w", 0o600);
  try {
    ftruncateSync(file, bytes.length);
    writeSync(file, bytes, 0, bytes.length, 0);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

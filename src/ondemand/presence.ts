/**
 * Which pieces of a lazy pack are there: a bit for each, in a file that all threads of dedupd map.
 *
 * The page cache survives the death of a process but not of the machine, so there are two files.
 * `<id>.have` is mapped and changed at once; it begins with the boot it belongs to, and is believed
 * in that boot only. `<id>.synced` is what was known to be on disk: it is written after the pack
 * was synced, and a new boot begins with it. What is lost in between is fetched again.
 *
 * One thread changes bits; the others read.
 *
 * @module
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { AppError, describeError } from "../errors.ts";

const headerBytes = 64;

/** As the kernel has it: another one after each boot (proc_sys_kernel(5)). */
export function currentBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}

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
  readonly #count: number;

  private constructor(mapped: Uint8Array, syncedPath: string, count: number) {
    super(mapped, count);
    this.#syncedPath = syncedPath;
    this.#count = count;
  }

  /**
   * @param packPath of the pack, whose files lie beside it
   * @param count of its pieces
   * @throws AppError `data_loss` where a file cannot be read, has another size than the pieces
   *   need, or tells of pieces that the pack does not have
   */
  static open(packPath: string, count: number): Presence {
    const { have, synced } = presencePaths(packPath);
    const sizeBytes = headerBytes + Math.ceil(count / 8);
    const bootId = currentBootId();
    if (!isOfThisBoot(have, bootId)) makeHave(have, bootId, readSynced(synced, count));
    const mapped = mapFile(have);
    if (mapped.length !== sizeBytes) {
      throw new AppError("data_loss", `"${have}" has ${mapped.length} bytes, not ${sizeBytes}`);
    }
    checkTail(mapped.subarray(headerBytes), count, have);
    return new Presence(mapped, synced, count);
  }

  /** What `open` would find, for who only looks: nothing is written. */
  static read(packPath: string, count: number): (piece: number) => boolean {
    const { have, synced } = presencePaths(packPath);
    const bootId = currentBootId();
    const bits = isOfThisBoot(have, bootId)
      ? readFileSync(have).subarray(headerBytes)
      : readSynced(synced, count);
    return (piece) => ((bits[piece >>> 3] ?? 0) & (1 << (piece & 7))) !== 0;
  }

  /** Whether all pieces are known to be on disk, whatever happens to the machine. */
  static isAllSynced(packPath: string, count: number): boolean {
    return onesIn(readSynced(presencePaths(packPath).synced, count)) === count;
  }

  /** Call after the content is in the pack. */
  set(piece: number): void {
    this.bits[piece >>> 3]! |= 1 << (piece & 7);
  }

  /**
   * Back to what `writeSynced` wrote last; to nothing where that cannot be read.
   *
   * @returns the pieces that are not there any more
   */
  clearUnsynced(): number[] {
    const synced = this.#believableSynced();
    const cleared: number[] = [];
    for (let piece = 0; piece < this.#count; piece++) {
      const bit = 1 << (piece & 7);
      if (!this.has(piece) || (synced[piece >>> 3]! & bit) !== 0) continue;
      this.bits[piece >>> 3]! &= ~bit;
      cleared.push(piece);
    }
    return cleared;
  }

  #believableSynced(): Uint8Array {
    try {
      return readSynced(this.#syncedPath, this.#count);
    } catch {
      return new Uint8Array(this.bits.length);
    }
  }

  /** How many pieces are there. */
  get presentCount(): number {
    return onesIn(this.bits);
  }

  /** A copy of the bits, to be given to `writeSynced` after the pack was synced. */
  snapshot(): Uint8Array {
    return Uint8Array.from(this.bits);
  }

  /**
   * Makes the next boot begin with these bits; one call at a time. All or nothing, also when the
   * machine stops in between.
   */
  async writeSynced(bits: Uint8Array): Promise<void> {
    const temporary = `${this.#syncedPath}.new`;
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(bits);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.#syncedPath);
    const folder = await open(dirname(this.#syncedPath), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

const onesOf = Uint8Array.from(
  { length: 256 },
  (_, byte) => byte.toString(2).replaceAll("0", "").length,
);

function onesIn(bits: Uint8Array): number {
  let count = 0;
  for (const byte of bits) count += onesOf[byte]!;
  return count;
}

function isOfThisBoot(path: string, bootId: string): boolean {
  if (!existsSync(path)) return false;
  return readFileSync(path).subarray(0, bootId.length).toString("latin1") === bootId;
}

function readSynced(path: string, count: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(count / 8));
  if (!existsSync(path)) return bits;
  const found = readFileSync(path);
  if (found.length !== bits.length) {
    throw new AppError("data_loss", `"${path}" has ${found.length} bytes, not ${bits.length}`);
  }
  checkTail(found, count, path);
  return found;
}

/** Bits behind the last piece are 0. */
function checkTail(bits: Uint8Array, count: number, name: string): void {
  const unused = (count & 7) === 0 ? 0 : 0xff & (0xff << (count & 7));
  if (((bits.at(-1) ?? 0) & unused) === 0) return;
  throw new AppError("data_loss", `"${name}" tells of more than ${count} pieces`);
}

function mapFile(path: string): Uint8Array {
  try {
    return Bun.mmap(path, { shared: true });
  } catch (cause) {
    throw new AppError("data_loss", `Cannot map "${path}": ${describeError(cause)}`, { cause });
  }
}

function makeHave(path: string, bootId: string, bits: Uint8Array): void {
  const header = new Uint8Array(headerBytes);
  header.set(new TextEncoder().encode(bootId));
  // Not synced: nothing of it is believed after the machine stopped.
  const temporary = `${path}.new`;
  writeFileSync(temporary, Buffer.concat([header, bits]), { mode: 0o600 });
  renameSync(temporary, path);
}

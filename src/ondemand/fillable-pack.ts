/**
 * A lazy pack while dedupd has it open: what is there, what is on its way.
 *
 * @module
 */
import { closeSync, fstatSync, openSync } from "node:fs";
import { AppError } from "../errors.ts";
import type { Reference } from "../registry/contract.ts";
import { parseReference } from "../registry/reference.ts";
import type { LazyPack } from "./contract.ts";
import { HashFilter } from "./hash-filter.ts";
import { PieceMap } from "./piece-map.ts";
import { Presence } from "./presence.ts";
import { RateMeter } from "./rate-meter.ts";
import { failpoint } from "../util/failpoint.ts";

export class FillablePack implements LazyPack {
  readonly packId: number;
  readonly path: string;
  readonly file: number;
  readonly pieces: PieceMap;
  readonly presence: Presence;
  /** Of the image by which the layer came. */
  readonly reference: Reference;
  /** Of all content, decompressed. */
  readonly bytes: number;
  /** Being fetched at the moment. */
  readonly inFlight = new Set<number>();
  /** Content that came. */
  readonly rate = new RateMeter();
  /** Received from registries by this process. */
  fetchedBytes = 0;
  /** Of the pieces that somebody has read. */
  readBytes = 0;
  /** Content was written since the pack was last synced. */
  isDirty = false;
  /** All is there and on disk. */
  isSettled = false;
  /** Nothing is to be done with it any more: another pack may have its number and its paths. */
  isClosed = false;
  /** Why the last attempt to fetch something failed; undefined after a success. */
  reason: string | undefined;
  readonly #hashes: HashFilter;
  /** A bit for each piece that somebody has read. */
  readonly #read: Uint8Array;
  #presentPieces = 0;
  #presentBytes = 0;
  #users = 0;
  #whenUnused: (() => void) | undefined;

  private constructor(packId: number, path: string, file: number) {
    this.packId = packId;
    this.path = path;
    this.file = file;
    this.pieces = PieceMap.open(path);
    this.presence = Presence.open(path, this.pieces.length);
    this.reference = parseReference(this.pieces.origin.image);
    this.#hashes = new HashFilter(this.pieces.length);
    this.#read = new Uint8Array(Math.ceil(this.pieces.length / 8));
    this.bytes = this.#readPieces();
    this.pieces.release();
  }

  /**
   * @param path of `<id>.pack`; `file` is open from here on, before anybody watches it
   * @throws AppError `not_found`, or `data_loss` where one of its files is damaged
   */
  static open(packId: number, path: string): FillablePack {
    const file = openPack(path);
    try {
      const pack = new FillablePack(packId, path, file);
      const { size } = fstatSync(file);
      if (size >= pack.pieces.packBytes) return pack;
      const problem = `"${path}" has ${size} bytes, fewer than its pieces need`;
      throw new AppError("data_loss", problem);
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  get presentPieces(): number {
    return this.#presentPieces;
  }

  get presentBytes(): number {
    return this.#presentBytes;
  }

  get isFull(): boolean {
    return this.#presentPieces === this.pieces.length;
  }

  /** Whether a piece is neither there nor on its way. */
  isMissing(piece: number): boolean {
    return !this.presence.has(piece) && !this.inFlight.has(piece);
  }

  /** The first of pieces `[first, end)` that is missing so. */
  nextMissing(first: number, end: number): number | undefined {
    for (let from = first; ; from++) {
      const piece = this.presence.firstMissing(from, end);
      if (piece === undefined || !this.inFlight.has(piece)) return piece;
      from = piece;
    }
  }

  /** Its content is in the pack, verified. */
  markPresent(piece: number): void {
    if (this.presence.has(piece)) return;
    this.presence.set(piece);
    this.isDirty = true;
    this.#presentPieces += 1;
    this.#presentBytes += this.pieces.sizeOf(piece);
    failpoint("fill.after-present");
  }

  /** A piece that is there and has the content of a piece of another pack; undefined for none. */
  findPresent({ pieces }: FillablePack, index: number): number | undefined {
    if (this.#presentPieces === 0 || this.isClosed) return undefined;
    if (!this.#hashes.mayHave(pieces, index)) return undefined;
    return this.pieces.find(pieces.sha256Of(index), (piece) => this.presence.has(piece));
  }

  /**
   * What is not known to be on the disk is not there any more, and will be fetched again: after an
   * error of writing, the page cache may have dropped what it could not write.
   */
  forgetUnsynced(): void {
    for (const piece of this.presence.clearUnsynced()) {
      this.#presentPieces -= 1;
      this.#presentBytes -= this.pieces.sizeOf(piece);
    }
  }

  /** Its file was deleted; it may be that of another pack by now. */
  get isDeleted(): boolean {
    return fstatSync(this.file).nlink === 0;
  }

  /** The piece with this SHA-256, there or not; undefined for none. */
  findPiece(sha256: Buffer): number | undefined {
    const words = { hashWordOf: (_: number, word: number) => sha256.readUInt32LE(word * 4) };
    return this.#hashes.mayHave(words, 0) ? this.pieces.find(sha256) : undefined;
  }

  wasRead(piece: number): boolean {
    return (this.#read[piece >>> 3]! & (1 << (piece & 7))) !== 0;
  }

  /** Whether it is the first time. */
  markRead(piece: number): boolean {
    if (this.wasRead(piece)) return false;
    this.#read[piece >>> 3]! |= 1 << (piece & 7);
    this.readBytes += this.pieces.sizeOf(piece);
    return true;
  }

  /** The file stays open until the result is disposed of: descriptors are used again. */
  use(): Disposable {
    this.#users += 1;
    return {
      [Symbol.dispose]: () => {
        this.#users -= 1;
        if (this.#users === 0) this.#whenUnused?.();
      },
    };
  }

  /** Closes the file when nobody uses it any more. */
  async close(): Promise<void> {
    this.isClosed = true;
    if (this.#users > 0) await new Promise<void>((resolve) => (this.#whenUnused = resolve));
    closeSync(this.file);
  }

  #readPieces(): number {
    const { pieces, presence } = this;
    let bytes = 0;
    for (let piece = 0; piece < pieces.length; piece++) {
      const sizeBytes = pieces.sizeOf(piece);
      bytes += sizeBytes;
      this.#hashes.add(pieces, piece);
      if (!presence.has(piece)) continue;
      this.#presentPieces += 1;
      this.#presentBytes += sizeBytes;
    }
    return bytes;
  }
}

function openPack(path: string): number {
  try {
    return openSync(path, "r+");
  } catch (cause) {
    throw new AppError("not_found", `Cannot open "${path}"`, { cause });
  }
}

/**
 * The content of a lazy pack, read only as far as it is what it should be.
 *
 * @module
 */
import { closeSync, openSync, readSync } from "node:fs";
import { AppError } from "../errors.ts";
import type { PieceMap } from "../ondemand/piece-map.ts";
import { MiB } from "../util/bytes.ts";
import { packOffsetBytes, type BlockAddress } from "./layout.ts";
import { openPieces } from "./lazy-pack.ts";
import { packPath, type StorePaths } from "./paths.ts";

const windowBytes = MiB;

export class LazyContent implements Disposable {
  readonly pieces: PieceMap;
  readonly #packId: number;
  readonly #file: number;
  readonly #verified: Uint8Array;
  readonly #window = Buffer.allocUnsafeSlow(windowBytes);

  /** Throws AppError `data_loss` where the map of the pieces is damaged. */
  constructor(paths: StorePaths, packId: number) {
    this.#packId = packId;
    this.pieces = openPieces(paths, packId);
    this.#verified = new Uint8Array(this.pieces.length);
    this.#file = openSync(packPath(paths, packId), "r");
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  /** Whether the piece is there, whole: reads and hashes all of it. */
  isSound(piece: number): boolean {
    const hasher = new Bun.CryptoHasher("sha256");
    const start = this.pieces.packOffsetOf(piece);
    const sizeBytes = this.pieces.sizeOf(piece);
    for (let done = 0; done < sizeBytes;) {
      const part = this.#window.subarray(0, Math.min(windowBytes, sizeBytes - done));
      const count = readSync(this.#file, part, 0, part.length, start + done);
      if (count === 0) return false;
      hasher.update(part.subarray(0, count));
      done += count;
    }
    return Buffer.compare(hasher.digest(), this.pieces.at(piece).sha256) === 0;
  }

  /**
   * Fills the target. What no piece covers is zeros.
   *
   * @throws AppError `data_loss` for a piece that is missing or has other content
   */
  read(target: Uint8Array, block: BlockAddress, skippedBytes: number): void {
    const start = packOffsetBytes(block) + skippedBytes;
    const [first, end] = this.pieces.covering(start, target.length);
    for (let piece = first; piece < end; piece++) this.#verify(piece);
    for (let done = 0; done < target.length;) {
      const count = readSync(this.#file, target, done, target.length - done, start + done);
      if (count === 0) throw this.#damage(start + done);
      done += count;
    }
  }

  #verify(piece: number): void {
    if (this.#verified[piece] === 1) return;
    if (!this.isSound(piece)) throw this.#damage(this.pieces.packOffsetOf(piece));
    this.#verified[piece] = 1;
  }

  #damage(offsetBytes: number): AppError {
    const problem = `Lazy pack ${this.#packId} has not the right content at byte ${offsetBytes}`;
    return new AppError("data_loss", problem, {
      remedy: "fetch it again, or remove the images that use the layer and pull them again",
    });
  }
}

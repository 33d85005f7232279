/**
 * How much may be fetched on a guess, so that guesses cost little where they are wrong.
 *
 * What was fetched so and is not read yet is at most 256 KiB, a little more where guesses pay: a
 * quarter of what was used of them, but never more than a sixteenth of what readers waited for.
 *
 * @module
 */
import { KiB } from "../../util/bytes.ts";
import type { PrefetchFigures } from "../control.ts";
import type { FillablePack } from "../fillable-pack.ts";

const unprovenBytes = 256 * KiB;
const shareOfUsed = 1 / 4;
const shareOfDemanded = 1 / 16;

export class GuessBudget {
  readonly #figures: () => PrefetchFigures;
  /** Pieces that did not come yet. */
  readonly #pending = new Map<FillablePack, Set<number>>();
  #pendingBytes = 0;
  #demandedBytes = 0;

  /** @param figures of what came on a guess */
  constructor(figures: () => PrefetchFigures) {
    this.#figures = figures;
  }

  /** Of content. */
  get roomBytes(): number {
    const { bytes, usedBytes, unseenBytes } = this.#figures();
    const earned = Math.min(usedBytes * shareOfUsed, this.#demandedBytes * shareOfDemanded);
    return unprovenBytes + earned - (bytes - usedBytes - unseenBytes) - this.#pendingBytes;
  }

  /** Somebody waits for so much content. */
  noteDemand(bytes: number): void {
    this.#demandedBytes += bytes;
  }

  /** A piece is asked for on a guess. */
  add(pack: FillablePack, piece: number): void {
    const pieces = this.#pending.get(pack) ?? new Set();
    this.#pending.set(pack, pieces);
    if (pieces.has(piece)) return;
    pieces.add(piece);
    this.#pendingBytes += pack.pieces.sizeOf(piece);
  }

  /** A piece came, for whatever reason. */
  settle(pack: FillablePack, piece: number): void {
    if (this.#pending.get(pack)?.delete(piece) === true)
      this.#pendingBytes -= pack.pieces.sizeOf(piece);
  }

  /** Nothing more comes of the pack. */
  forget(pack: FillablePack): void {
    for (const piece of this.#pending.get(pack) ?? []) this.settle(pack, piece);
    this.#pending.delete(pack);
  }
}

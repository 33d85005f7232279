/**
 * How much may be fetched on a guess, so that guesses cost little where they are wrong: what was
 * fetched so and is not read yet is at most 256 KiB and a twelfth of what readers waited for.
 *
 * @module
 */
import { KiB } from "../../util/bytes.ts";
import type { PrefetchFigures } from "../control.ts";
import type { FillablePack } from "../fillable-pack.ts";

const unprovenBytes = 256 * KiB;
const shareOfDemanded = 1 / 12;

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
    const unreadBytes = bytes - usedBytes - unseenBytes + this.#pendingBytes;
    return unprovenBytes + this.#demandedBytes * shareOfDemanded - unreadBytes;
  }

  /** Somebody waits for so much content. */
  noteDemand(bytes: number): void {
    this.#demandedBytes += bytes;
  }

  /** A piece may be asked for on a guess, which counts from now on; false: there is no room. */
  take(pack: FillablePack, piece: number): boolean {
    const pieces = this.#pending.get(pack) ?? new Set();
    if (pieces.has(piece)) return true;
    const sizeBytes = pack.pieces.sizeOf(piece);
    if (sizeBytes > this.roomBytes) return false;
    this.#pending.set(pack, pieces);
    pieces.add(piece);
    this.#pendingBytes += sizeBytes;
    return true;
  }

  /** A piece came, or does not come any more; whether it was asked for on a guess. */
  settle(pack: FillablePack, piece: number): boolean {
    const wasPending = this.#pending.get(pack)?.delete(piece) === true;
    if (wasPending) this.#pendingBytes -= pack.pieces.sizeOf(piece);
    return wasPending;
  }

  /** Nothing more comes of the pack. */
  forget(pack: FillablePack): void {
    for (const piece of this.#pending.get(pack) ?? []) this.settle(pack, piece);
    this.#pending.delete(pack);
  }
}

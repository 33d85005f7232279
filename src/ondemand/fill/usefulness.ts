/**
 * How much of what was prefetched is read, by why it was fetched.
 *
 * @module
 */
import { type PrefetchCause, prefetchCauses, type PrefetchFigures } from "../control.ts";
import type { FillablePack } from "../fillable-pack.ts";

type Figures = { -readonly [Name in keyof PrefetchFigures]: number };

const names = {
  fetched: ["pieces", "bytes"],
  used: ["usedPieces", "usedBytes"],
  unseen: ["unseenPieces", "unseenBytes"],
} as const;

export class Usefulness {
  /** For `GET /status`. */
  readonly figures: Readonly<Record<PrefetchCause, PrefetchFigures>>;
  readonly #total = newFigures();
  readonly #ofPacks = new WeakMap<FillablePack, Record<PrefetchCause, Figures>>();
  /** A number for each piece: 0, or one more than the place of a cause; the piece was not read. */
  readonly #unread = new WeakMap<FillablePack, Uint8Array>();

  constructor() {
    this.figures = this.#total;
  }

  ofPack(pack: FillablePack): Readonly<Record<PrefetchCause, PrefetchFigures>> {
    return this.#figuresOf(pack);
  }

  /** Prefetch brought a piece. */
  noteFilled(pack: FillablePack, piece: number, cause: PrefetchCause): void {
    this.#count(pack, piece, cause, "fetched");
    if (pack.wasRead(piece)) this.#count(pack, piece, cause, "used");
    else this.#unreadOf(pack)[piece] = prefetchCauses.indexOf(cause) + 1;
  }

  /** Somebody reads a piece for the first time. */
  noteRead(pack: FillablePack, piece: number): void {
    const unread = this.#unread.get(pack);
    const cause = prefetchCauses[(unread?.[piece] ?? 0) - 1];
    if (unread === undefined || cause === undefined) return;
    unread[piece] = 0;
    this.#count(pack, piece, cause, "used");
  }

  /** All of the pack is there: what was not read until now is not seen to be read. */
  noteComplete(pack: FillablePack): void {
    const unread = this.#unread.get(pack) ?? [];
    for (const [piece, place] of unread.entries()) {
      const cause = prefetchCauses[place - 1];
      if (cause !== undefined) this.#count(pack, piece, cause, "unseen");
    }
    this.#unread.delete(pack);
  }

  #count(
    pack: FillablePack,
    piece: number,
    cause: PrefetchCause,
    what: "fetched" | "used" | "unseen",
  ): void {
    const [pieces, bytes] = names[what];
    for (const figures of [this.#total[cause], this.#figuresOf(pack)[cause]]) {
      figures[pieces] += 1;
      figures[bytes] += pack.pieces.sizeOf(piece);
    }
  }

  #figuresOf(pack: FillablePack): Record<PrefetchCause, Figures> {
    const known = this.#ofPacks.get(pack);
    if (known !== undefined) return known;
    const figures = newFigures();
    this.#ofPacks.set(pack, figures);
    return figures;
  }

  #unreadOf(pack: FillablePack): Uint8Array {
    const known = this.#unread.get(pack);
    if (known !== undefined) return known;
    const unread = new Uint8Array(pack.pieces.length);
    this.#unread.set(pack, unread);
    return unread;
  }
}

const none = (): Figures => ({
  pieces: 0,
  bytes: 0,
  usedPieces: 0,
  usedBytes: 0,
  unseenPieces: 0,
  unseenBytes: 0,
});

function newFigures(): Record<PrefetchCause, Figures> {
  return {
    trace: none(),
    predictor: none(),
    window: none(),
    neighbour: none(),
    landmark: none(),
    request: none(),
  };
}

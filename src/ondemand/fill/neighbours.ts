/**
 * What lies around a small file that is read, fetched by the same request.
 *
 * A program that starts reads hundreds of small files one after the other (an interpreter its
 * modules), and waits a round trip for each. They lie in few folders, so near each other in the
 * blob: of programs that import a lot, half of the round trips can be saved so.
 *
 * It is a guess, so it has a budget (guess-budget.ts).
 *
 * @module
 */
import { KiB } from "../../util/bytes.ts";
import type { PrefetchFigures } from "../control.ts";
import type { FillablePack } from "../fillable-pack.ts";
import { GuessBudget } from "./guess-budget.ts";
import type { Run } from "./span.ts";

/** Who reads more than that at once waits for the bytes rather than for the round trip. */
const smallBytesMax = 64 * KiB;
/**
 * Of the blob, on each side. Simulated with the reads of five images and this budget: of Python
 * programs, 16 KiB save an eighth to a fifth less round trips, and 48 KiB save less than that, for
 * the budget is used up sooner.
 */
const windowBytes = { min: 4 * KiB, unknown: 16 * KiB, max: 24 * KiB } as const;
/** How much longer the reader waits for it on each side, where the link is slow. */
const windowSeconds = 0.004;

export class Neighbours {
  readonly budget: GuessBudget;
  readonly #bytesPerSecond: () => number;

  /**
   * @param bytesPerSecond what the link was seen to carry; 0: nothing was seen yet
   * @param figures how good these guesses were so far
   */
  constructor(bytesPerSecond: () => number, figures: () => PrefetchFigures) {
    this.#bytesPerSecond = bytesPerSecond;
    this.budget = new GuessBudget(figures);
  }

  /**
   * Pieces `[first, end)` are asked for.
   *
   * @returns the run to ask for instead, which holds them; undefined: nothing comes along
   */
  around(pack: FillablePack, first: number, end: number): Run | undefined {
    const missing = pack.nextMissing(first, end);
    if (missing === undefined) return undefined;
    const { pieces } = pack;
    for (let piece = missing; piece < end; piece++)
      if (pack.isMissing(piece)) this.budget.noteDemand(pieces.sizeOf(piece));
    const start = pieces.blobOffsetOf(missing);
    const stop = pieces.blobOffsetOf(end - 1) + pieces.compressedBytesOf(end - 1);
    if (stop < start || stop - start > smallBytesMax) return undefined;
    const window = this.#windowBytes;
    const behind = (piece: number) => {
      const offset = pieces.blobOffsetOf(piece);
      return offset >= start && offset + pieces.compressedBytesOf(piece) <= stop + window;
    };
    const before = (piece: number) => {
      const offset = pieces.blobOffsetOf(piece);
      return offset <= start && offset >= start - window;
    };
    let [from, to] = [missing, end];
    while (to < pieces.length && behind(to) && this.#take(pack, to)) to += 1;
    while (from > 0 && before(from - 1) && this.#take(pack, from - 1)) from -= 1;
    return from === missing && to === end ? undefined : { first: from, end: to };
  }

  /** False where the budget does not reach. */
  #take(pack: FillablePack, piece: number): boolean {
    return !pack.isMissing(piece) || this.budget.take(pack, piece);
  }

  get #windowBytes(): number {
    const bytesPerSecond = this.#bytesPerSecond();
    if (bytesPerSecond === 0) return windowBytes.unknown;
    return Math.min(windowBytes.max, Math.max(windowBytes.min, bytesPerSecond * windowSeconds));
  }
}

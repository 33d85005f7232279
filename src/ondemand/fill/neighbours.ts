/**
 * What lies beside a small file that is read, fetched along with it.
 *
 * A program that starts reads hundreds of small files one after the other (an interpreter its
 * modules), and would wait a round trip for each, while the link is idle. They lie in few folders,
 * so near each other in the blob. What follows a small file there is fetched while its reader is
 * busy with it: a little at first, twice as much with each read nearby.
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
const windowBytes = { first: 32 * KiB, max: 512 * KiB } as const;
/** How long a demand that comes meanwhile may have to wait for the link. */
const windowSeconds = 0.04;
/** Reads count as nearby up to this distance in the blob. */
const nearBytes = 512 * KiB;
const readsRemembered = 16;
interface SmallRead {
  readonly packId: number;
  readonly atBytes: number;
}

export class Neighbours {
  readonly budget: GuessBudget;
  readonly #bytesPerSecond: () => number;
  readonly #recent: SmallRead[] = [];

  /**
   * @param bytesPerSecond what the link was seen to carry; 0: nothing was seen yet
   * @param figures how good these guesses were so far
   */
  constructor(bytesPerSecond: () => number, figures: () => PrefetchFigures) {
    this.#bytesPerSecond = bytesPerSecond;
    this.budget = new GuessBudget(figures);
  }

  /** Pieces `[first, end)` are asked for. @returns those to fetch along, if any */
  beside(pack: FillablePack, first: number, end: number): Run | undefined {
    const missing = pack.nextMissing(first, end);
    if (missing === undefined) return undefined;
    const { pieces } = pack;
    for (let piece = missing; piece < end; piece++)
      if (isMissing(pack, piece)) this.budget.noteDemand(pieces.sizeOf(piece));
    const atBytes = pieces.blobOffsetOf(missing);
    const askedBytes = pieces.blobOffsetOf(end - 1) + pieces.compressedBytesOf(end - 1) - atBytes;
    if (askedBytes < 0 || askedBytes > smallBytesMax) return undefined;
    const run = following(pack, end, this.#windowOf(pack, atBytes), this.budget.roomBytes);
    this.#remember({ packId: pack.packId, atBytes });
    for (let piece = end; piece < run.end; piece++)
      if (isMissing(pack, piece)) this.budget.add(pack, piece);
    return run.bytes > 0 ? { first: end, end: run.end } : undefined;
  }

  #windowOf({ packId }: FillablePack, atBytes: number): number {
    const near = this.#recent.filter(
      (read) => read.packId === packId && Math.abs(read.atBytes - atBytes) <= nearBytes,
    );
    const carriedBytes = Math.max(windowBytes.first, this.#bytesPerSecond() * windowSeconds);
    return Math.min(windowBytes.first * 2 ** near.length, windowBytes.max, carriedBytes);
  }

  #remember(read: SmallRead): void {
    this.#recent.push(read);
    if (this.#recent.length > readsRemembered) this.#recent.shift();
  }
}

function isMissing({ presence, inFlight }: FillablePack, piece: number): boolean {
  return !presence.has(piece) && !inFlight.has(piece);
}

/**
 * The pieces from one on that lie within so many bytes of the blob, as long as those that miss have
 * no more content than may be guessed; and how much they have.
 */
function following(pack: FillablePack, first: number, blobBytes: number, roomBytes: number) {
  const { pieces } = pack;
  if (first >= pieces.length) return { end: first, bytes: 0 };
  const start = pieces.blobOffsetOf(first);
  let [end, bytes] = [first, 0];
  for (; end < pieces.length; end++) {
    const offsetBytes = pieces.blobOffsetOf(end) - start;
    if (offsetBytes < 0 || offsetBytes + pieces.compressedBytesOf(end) > blobBytes) break;
    const addedBytes = isMissing(pack, end) ? pieces.sizeOf(end) : 0;
    if (bytes + addedBytes > roomBytes) break;
    bytes += addedBytes;
  }
  return { end, bytes };
}

/**
 * What lies beside a small file that is read, fetched along with it.
 *
 * A program that starts reads hundreds of small files one after the other (an interpreter its
 * modules), and would wait a round trip for each, while the link is idle. They lie in few folders,
 * so near each other in the blob. What follows a small file there is fetched while its reader is
 * busy with it: a little at first, twice as much with each read nearby.
 *
 * It is a guess, so it has an account: what is asked for earns a quarter of its size, and no more
 * than that is spent. However wrong the guesses are, a quarter more is fetched than is needed.
 *
 * @module
 */
import { KiB, MiB } from "../../util/bytes.ts";
import type { FillablePack } from "../fillable-pack.ts";
import type { Run } from "./span.ts";

/** Who reads more than that at once waits for the bytes rather than for the round trip. */
const smallBytesMax = 64 * KiB;
const windowBytes = { first: 32 * KiB, max: 512 * KiB } as const;
/** How long a demand that comes meanwhile may have to wait for the link. */
const windowSeconds = 0.04;
/** Reads count as nearby up to this distance in the blob. */
const nearBytes = 512 * KiB;
const readsRemembered = 16;
/** Bytes that may be spent for each byte that was asked for. */
const share = 0.25;
const balanceBytes = { first: 512 * KiB, max: 4 * MiB } as const;

interface SmallRead {
  readonly packId: number;
  readonly atBytes: number;
}

export class Neighbours {
  readonly #bytesPerSecond: () => number;
  readonly #recent: SmallRead[] = [];
  #balanceBytes: number = balanceBytes.first;

  /** @param bytesPerSecond what the link was seen to carry; 0: nothing was seen yet */
  constructor(bytesPerSecond: () => number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Pieces `[first, end)` are asked for. @returns those to fetch along, if any */
  beside(pack: FillablePack, first: number, end: number): Run | undefined {
    const missing = pack.nextMissing(first, end);
    if (missing === undefined) return undefined;
    const { pieces } = pack;
    const atBytes = pieces.blobOffsetOf(missing);
    const askedBytes = pieces.blobOffsetOf(end - 1) + pieces.compressedBytesOf(end - 1) - atBytes;
    const earnedBytes = Math.max(0, askedBytes) * share;
    this.#balanceBytes = Math.min(balanceBytes.max, this.#balanceBytes + earnedBytes);
    if (askedBytes < 0 || askedBytes > smallBytesMax) return undefined;
    const run = following(pack, end, Math.min(this.#windowOf(pack, atBytes), this.#balanceBytes));
    this.#remember({ packId: pack.packId, atBytes });
    this.#balanceBytes -= run.bytes;
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

/** The pieces from one on that lie within so many bytes of the blob, and how many of those miss. */
function following({ pieces, presence, inFlight }: FillablePack, first: number, sizeBytes: number) {
  if (first >= pieces.length) return { end: first, bytes: 0 };
  const start = pieces.blobOffsetOf(first);
  let [end, bytes] = [first, 0];
  for (; end < pieces.length; end++) {
    const offsetBytes = pieces.blobOffsetOf(end) - start;
    const compressedBytes = pieces.compressedBytesOf(end);
    if (offsetBytes < 0 || offsetBytes + compressedBytes > sizeBytes) break;
    if (!presence.has(end) && !inFlight.has(end)) bytes += compressedBytes;
  }
  return { end, bytes };
}

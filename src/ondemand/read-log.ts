/**
 * Tells the main thread which pieces are read that are there: threads answer those reads without
 * asking it. A ring in shared memory, as a message for each of many small files would cost more
 * than to answer; where nobody takes what was written, what comes next is lost.
 *
 * @module
 */

/** A power of two. */
const entriesCount = 2 ** 16;
const headerWords = 2;
/** How many are written, and how many taken; they wrap around. */
const at = { written: 0, taken: 1 } as const;
/** Threads that see the last free place at once may each write one. */
const spare = 64;

export interface PieceRead {
  readonly packId: number;
  readonly piece: number;
}

export class ReadLog {
  static readonly sizeBytes = (headerWords + entriesCount * 2) * 4;
  readonly #words: Int32Array;

  /** @param shared `sizeBytes` of it belong to the log */
  constructor(shared: SharedArrayBuffer, offsetBytes: number) {
    this.#words = new Int32Array(shared, offsetBytes, ReadLog.sizeBytes / 4);
  }

  /** In any thread. */
  note(packId: number, piece: number): void {
    const words = this.#words;
    const waiting = (Atomics.load(words, at.written) - Atomics.load(words, at.taken)) | 0;
    if (waiting >= entriesCount - spare) return;
    const place = placeOf(Atomics.add(words, at.written, 1));
    words[place + 1] = piece;
    // Last: it says that the entry is whole. No pack has the id 0.
    Atomics.store(words, place, packId);
  }

  /** In one thread: what was noted since the last time. */
  *take(): Generator<PieceRead> {
    const words = this.#words;
    for (;;) {
      const taken = Atomics.load(words, at.taken);
      if (taken === Atomics.load(words, at.written)) return;
      const place = placeOf(taken);
      const packId = Atomics.exchange(words, place, 0);
      if (packId === 0) return;
      const piece = words[place + 1]!;
      Atomics.add(words, at.taken, 1);
      yield { packId, piece };
    }
  }
}

function placeOf(count: number): number {
  return headerWords + (count & (entriesCount - 1)) * 2;
}

/**
 * Pieces of one pack that shall be fetched before they are asked for, in this order.
 *
 * @module
 */
import type { PrefetchCause } from "../control.ts";
import type { Run } from "./span.ts";

export interface PrefetchRun extends Run {
  readonly cause: PrefetchCause;
  /** Among the packs of an image: the lowest is needed first. */
  readonly rank: number;
}

/** Runs of a trace are in the order of time, so neighbours in the blob may be some runs apart. */
const runsAhead = 16;

export function rankedRuns(
  runs: readonly Run[],
  cause: PrefetchCause,
  rank: number,
): PrefetchRun[] {
  return runs.map(({ first, end }) => ({ first, end, cause, rank }));
}

export class RunList {
  #runs: readonly PrefetchRun[] = [];
  #at = 0;

  get isEmpty(): boolean {
    return this.#at === this.#runs.length;
  }

  /** The first of those left; its pieces may all be there by now. */
  get head(): PrefetchRun | undefined {
    return this.#runs[this.#at];
  }

  /** Behind what is there already and is not needed later. */
  add(runs: readonly PrefetchRun[]): void {
    const all = [...this.#runs.slice(this.#at), ...runs];
    this.#runs = all.sort((left, right) => left.rank - right.rank);
    this.#at = 0;
  }

  /** Before all else. */
  putFirst(runs: readonly PrefetchRun[]): void {
    this.#runs = [...runs, ...this.#runs.slice(this.#at)];
    this.#at = 0;
  }

  /** The first piece that `nextMissing` finds; runs without any are done with. */
  nextPiece(nextMissing: (first: number, end: number) => number | undefined): number | undefined {
    for (; this.#at < this.#runs.length; this.#at++) {
      const { first, end } = this.#runs[this.#at]!;
      const piece = nextMissing(first, end);
      if (piece !== undefined) return piece;
    }
    return undefined;
  }

  /** Whether a piece is in the next runs. */
  wants(piece: number): boolean {
    const next = this.#runs.slice(this.#at, this.#at + runsAhead);
    return next.some(({ first, end }) => piece >= first && piece < end);
  }
}

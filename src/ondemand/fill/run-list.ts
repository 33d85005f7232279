/**
 * Pieces of one pack that shall be fetched before they are asked for, in this order.
 *
 * @module
 */
import type { Run } from "./span.ts";

/** Runs of a trace are in the order of time, so neighbours in the blob may be some runs apart. */
const runsAhead = 16;

export class RunList {
  #runs: readonly Run[] = [];
  #at = 0;

  get isEmpty(): boolean {
    return this.#at === this.#runs.length;
  }

  /** Behind what is there already. */
  append(runs: readonly Run[]): void {
    this.#runs = [...this.#runs.slice(this.#at), ...runs];
    this.#at = 0;
  }

  /** Before all else. */
  putFirst(runs: readonly Run[]): void {
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

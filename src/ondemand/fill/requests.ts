/**
 * The reads that wait for pieces of one pack.
 *
 * @module
 */
import { AppError } from "../../errors.ts";
import type { FillablePack } from "../fillable-pack.ts";
import type { Run } from "./span.ts";

/** Answered exactly once: by `resolve`, or by `reject`. */
export interface OpenRequest {
  /** From the first piece that is missing. */
  first: number;
  readonly end: number;
  /** What is asked for at the first attempt; holds the above. */
  readonly around: Run;
  attempts: number;
  /** Not before is it asked for again. */
  retryAtMs: number;
  lastError: unknown;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: AppError) => void;
}

/** A guess is tried once: where it is wrong, nobody should have to wait for it. */
function isAround({ around, attempts }: OpenRequest, piece: number): boolean {
  return attempts === 0 && piece >= around.first && piece < around.end;
}

export class PackRequests {
  readonly #pack: FillablePack;
  readonly #open = new Set<OpenRequest>();

  constructor(pack: FillablePack) {
    this.#pack = pack;
  }

  get size(): number {
    return this.#open.size;
  }

  add(request: OpenRequest): void {
    this.#open.add(request);
  }

  /** The first piece that may be asked for now; undefined for none. */
  nextPiece(nowMs: number): number | undefined {
    for (const request of this.#open) {
      if (request.retryAtMs > nowMs) continue;
      const piece = this.#pack.nextMissing(request.first, request.end);
      if (piece !== undefined) return piece;
    }
    return undefined;
  }

  /** Where to begin for the sake of a piece: with what comes along in front of it. */
  startAround(piece: number): number {
    for (const request of this.#open) {
      const { first } = request.around;
      if (isAround(request, piece)) return this.#pack.nextMissing(first, piece) ?? piece;
    }
    return piece;
  }

  /** Whether somebody waits for a piece, or it comes along. */
  wants(piece: number): boolean {
    for (const request of this.#open) {
      const { first, end } = request;
      if ((piece >= first && piece < end) || isAround(request, piece)) return true;
    }
    return false;
  }

  /** Answers those whose pieces are all there. */
  answer(): void {
    for (const request of this.#open) {
      const missing = this.#pack.presence.firstMissing(request.first, request.end);
      if (missing !== undefined) {
        request.first = missing;
        continue;
      }
      this.#open.delete(request);
      request.resolve();
    }
  }

  /** An attempt failed for these pieces: those who wait for one of them wait longer. */
  penalize(
    pieces: readonly number[],
    error: unknown,
    retryAtMs: (attempts: number) => number,
  ): void {
    const concerned = [...this.#open].filter(({ first, end }) => {
      return pieces.some((piece) => piece >= first && piece < end);
    });
    for (const request of concerned) {
      request.attempts += 1;
      request.lastError = error;
      request.retryAtMs = retryAtMs(request.attempts);
      // Others are asked for first.
      this.#open.delete(request);
      this.#open.add(request);
    }
  }

  /** Rejects those whose time is over; how many. */
  expire(nowMs: number): number {
    let count = 0;
    for (const request of this.#open) {
      if (request.deadlineMs > nowMs) continue;
      count += 1;
      this.#open.delete(request);
      const { packId } = this.#pack;
      request.reject(
        new AppError("unavailable", `Content of lazy pack ${packId} did not come in time`, {
          cause: request.lastError,
          remedy: "see whether the registry can be reached; the next read asks again",
        }),
      );
    }
    return count;
  }

  rejectAll(error: AppError): void {
    for (const request of this.#open) {
      this.#open.delete(request);
      request.reject(error);
    }
  }
}

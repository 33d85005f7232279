/**
 * Which pieces follow the one that was just read, as far as traces tell: those of the image, else
 * those of any other image with that piece, such as an earlier version of it.
 *
 * @module
 */
import type { TraceEntry } from "./format.ts";

/** Pieces ahead of a reader; the next are told when half of them are behind it. */
export const windowPieces = 32;
/** Of all traces together, some 8 MiB; those learned first are forgotten. */
const piecesKept = 65_536;
const sha256Bytes = 32;
/** Of a hash, as the key it is found by: more would be no whole number any more. */
const keyBytes = 6;

interface Learned {
  readonly name: string;
  readonly hashes: Buffer;
  /** By key. */
  readonly places: ReadonlyMap<number, number>;
}

interface Reader {
  readonly trace: Learned;
  /** Up to where pieces were told. */
  readonly ahead: number;
}

export class Predictor {
  /** The one that was learned last comes last. */
  readonly #traces = new Map<string, Learned>();
  /** By image. */
  readonly #readers = new Map<string, Reader>();
  #pieces = 0;

  /** How many pieces more can be learned without forgetting others. */
  get room(): number {
    return piecesKept - this.#pieces;
  }

  /** @param name of the trace: what is known by that name is forgotten */
  learn(name: string, entries: readonly Pick<TraceEntry, "sha256">[]): void {
    this.#forget(name);
    if (entries.length === 0) return;
    const hashes = Buffer.from(entries.map(({ sha256 }) => sha256).join(""), "hex");
    const places = new Map<number, number>();
    for (let place = 0; place < entries.length; place++) {
      places.set(hashes.readUIntBE(place * sha256Bytes, keyBytes), place);
    }
    this.#traces.set(name, { name, hashes, places });
    this.#pieces += entries.length;
    for (const oldest of this.#traces.keys()) {
      if (this.#pieces <= piecesKept) break;
      this.#forget(oldest);
    }
  }

  /**
   * What is likely to be read next, the nearest first; nothing where that was told before.
   *
   * @param name of the image's own trace
   * @param sha256 of the piece that was read
   */
  following(name: string, sha256: Uint8Array): Buffer[] {
    const found = this.#find(name, Buffer.from(sha256.buffer, sha256.byteOffset, sha256Bytes));
    if (found === undefined) return [];
    const { trace, place } = found;
    const reader = this.#readers.get(name);
    const before = reader?.trace === trace ? reader.ahead : 0;
    if (before - place > windowPieces / 2) return [];
    const end = Math.min(place + 1 + windowPieces, trace.hashes.length / sha256Bytes);
    const following: Buffer[] = [];
    for (let next = Math.max(place + 1, before); next < end; next++) {
      following.push(trace.hashes.subarray(next * sha256Bytes, (next + 1) * sha256Bytes));
    }
    this.#readers.set(name, { trace, ahead: Math.max(before, end) });
    return following;
  }

  /** The image's start is over, or begins anew. */
  forgetReader(name: string): void {
    this.#readers.delete(name);
  }

  #find(name: string, sha256: Buffer): { trace: Learned; place: number } | undefined {
    const own = this.#traces.get(name);
    const others = [...this.#traces.values()].reverse();
    for (const trace of own === undefined ? others : [own, ...others]) {
      const place = trace.places.get(sha256.readUIntBE(0, keyBytes));
      if (place === undefined) continue;
      const found = trace.hashes.subarray(place * sha256Bytes, (place + 1) * sha256Bytes);
      if (found.equals(sha256)) return { trace, place };
    }
    return undefined;
  }

  #forget(name: string): void {
    this.#pieces -= this.#traces.get(name)?.places.size ?? 0;
    this.#traces.delete(name);
  }
}

/**
 * The pieces of a job as columns: what threads are told of thousands of small files at once. (As an
 * object each, to post them keeps the event loop busy for longer than to decompress them.)
 *
 * @module
 */
import type { PieceMap } from "../piece-map.ts";
import type { Span } from "./span.ts";

const sha256Bytes = 32;

/** Row by row. */
export interface JobPieces {
  /** Number of the piece in its pack. */
  readonly piece: Uint32Array;
  readonly packOffsetBytes: Float64Array;
  readonly sizeBytes: Uint32Array;
  /** 32 bytes each. */
  readonly sha256: Uint8Array;
  readonly innerOffsetBytes: Uint32Array;
  /** Of its member in the bytes of the job. */
  readonly memberOffsetBytes: Uint32Array;
  readonly compressedBytes: Uint32Array;
}

/** @param pieces of the span, ascending */
export function jobPieces(map: PieceMap, span: Span, pieces: readonly number[]): JobPieces {
  const count = pieces.length;
  const job = {
    piece: Uint32Array.from(pieces),
    packOffsetBytes: new Float64Array(count),
    sizeBytes: new Uint32Array(count),
    sha256: new Uint8Array(count * sha256Bytes),
    innerOffsetBytes: new Uint32Array(count),
    memberOffsetBytes: new Uint32Array(count),
    compressedBytes: new Uint32Array(count),
  };
  for (const [row, piece] of pieces.entries()) {
    job.packOffsetBytes[row] = map.packOffsetOf(piece);
    job.sizeBytes[row] = map.sizeOf(piece);
    job.sha256.set(map.sha256Of(piece), row * sha256Bytes);
    job.innerOffsetBytes[row] = map.innerOffsetOf(piece);
    job.memberOffsetBytes[row] = map.blobOffsetOf(piece) - span.offsetBytes;
    job.compressedBytes[row] = map.compressedBytesOf(piece);
  }
  return job;
}

/** A gzip member or zstd frame, and the rows of the pieces in it: `[first, end)`. */
export interface Member {
  readonly first: number;
  readonly end: number;
  readonly offsetBytes: number;
  /** Enough to decompress all of them. */
  readonly compressedBytes: number;
  /** How much of what is decompressed is needed. */
  readonly wantedBytes: number;
}

export function* membersOf(pieces: JobPieces): Generator<Member> {
  const { memberOffsetBytes, compressedBytes, innerOffsetBytes, sizeBytes } = pieces;
  const count = pieces.piece.length;
  for (let first = 0, end = 0; first < count; first = end) {
    let [needed, wanted] = [0, 0];
    for (; end < count && memberOffsetBytes[end] === memberOffsetBytes[first]; end++) {
      needed = Math.max(needed, compressedBytes[end]!);
      wanted = Math.max(wanted, innerOffsetBytes[end]! + sizeBytes[end]!);
    }
    const offsetBytes = memberOffsetBytes[first]!;
    yield { first, end, offsetBytes, compressedBytes: needed, wantedBytes: wanted };
  }
}

export function sha256OfRow({ sha256 }: JobPieces, row: number): Uint8Array {
  return sha256.subarray(row * sha256Bytes, (row + 1) * sha256Bytes);
}

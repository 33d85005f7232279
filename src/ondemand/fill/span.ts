/**
 * What one range request brings: neighbours in the blob that are wanted, and what lies between.
 *
 * @module
 */
import { MiB } from "../../util/bytes.ts";
import type { PieceMap } from "../piece-map.ts";

/** Pieces `[first, end)`. */
export interface Run {
  readonly first: number;
  readonly end: number;
}

export interface Span {
  /** Ascending; all are to be stored. */
  readonly pieces: readonly number[];
  /** Of the blob. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface SpanLimits {
  /** Bytes of the blob between two pieces that are rather fetched than asked for apart. */
  readonly gapBytes: number;
  /** Of the blob; a piece that is larger comes alone. */
  readonly spanBytesMax: number;
}

/** What takes more than this is not held in memory as a whole. */
const largeCompressedBytes = 16 * MiB;
const largeContentBytes = 32 * MiB;

/** Whether a piece is fetched alone, and decompressed as it comes. */
export function isLarge(map: PieceMap, piece: number): boolean {
  return (
    map.compressedBytesOf(piece) > largeCompressedBytes ||
    map.innerOffsetOf(piece) + map.sizeOf(piece) > largeContentBytes
  );
}

/** Zeros compress a thousandfold, and a thread is busy with what a span holds. */
const spanContentBytesMax = 32 * MiB;

/**
 * The span that begins with a piece. Pieces are taken as long as they follow each other in the blob
 * as they do in the pack; those between wanted ones are taken along, as they come anyway.
 *
 * @param start is wanted and missing
 * @param isMissing and not being fetched
 */
export function planSpan(
  map: PieceMap,
  start: number,
  isMissing: (piece: number) => boolean,
  isWanted: (piece: number) => boolean,
  { gapBytes, spanBytesMax }: SpanLimits,
): Span {
  const pieces = [start];
  const offsetBytes = map.blobOffsetOf(start);
  let endBytes = offsetBytes + map.compressedBytesOf(start);
  let contentBytes = map.sizeOf(start);
  if (isLarge(map, start)) return { pieces, offsetBytes, lengthBytes: endBytes - offsetBytes };
  let between: number[] = [];
  let before = offsetBytes;
  for (let piece = start + 1; piece < map.length; piece++) {
    const at = map.blobOffsetOf(piece);
    const nextEndBytes = Math.max(endBytes, at + map.compressedBytesOf(piece));
    contentBytes += map.sizeOf(piece);
    const isNear = at >= before && at - endBytes <= gapBytes;
    const isTooMuch =
      nextEndBytes - offsetBytes > spanBytesMax || contentBytes > spanContentBytesMax;
    if (!isNear || isTooMuch || isLarge(map, piece)) break;
    before = at;
    if (!isMissing(piece)) continue;
    between.push(piece);
    if (!isWanted(piece)) continue;
    pieces.push(...between);
    between = [];
    endBytes = nextEndBytes;
  }
  return { pieces, offsetBytes, lengthBytes: endBytes - offsetBytes };
}

/** The pieces, ascending, as spans without others between them. */
export function spansOf(map: PieceMap, pieces: readonly number[], limits: SpanLimits): Span[] {
  const missing = new Set(pieces);
  const isMissing = (piece: number) => missing.has(piece);
  const spans: Span[] = [];
  for (const piece of pieces) {
    if (!missing.has(piece)) continue;
    const span = planSpan(map, piece, isMissing, isMissing, limits);
    for (const taken of span.pieces) missing.delete(taken);
    spans.push(span);
  }
  return spans;
}

/** The same pieces, as runs of neighbours. */
export function runsOf(pieces: readonly number[]): Run[] {
  const runs: { first: number; end: number }[] = [];
  for (const piece of pieces) {
    const last = runs.at(-1);
    if (last?.end === piece) last.end += 1;
    else runs.push({ first: piece, end: piece + 1 });
  }
  return runs;
}

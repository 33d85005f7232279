/**
 * Annotations that say where something lies in a zstd:chunked blob.
 *
 * @module
 */
import type { BlobRange } from "../model.ts";

/** "CRFS" tables, the only ones there are. */
export const tocType = 1;

/** Of compressed bytes that stand alone in the blob. */
export interface ZstdPlace extends BlobRange {
  readonly uncompressedBytes: number;
}

/** `offset:length:uncompressed length:type`; undefined for anything else. */
export function parseTocPosition(text: string): ZstdPlace | undefined {
  const match = /^(\d{1,15}):(\d{1,15}):(\d{1,15}):1$/.exec(text);
  if (match === null) return undefined;
  const [offsetBytes, lengthBytes, uncompressedBytes] = match.slice(1).map(Number);
  return {
    offsetBytes: offsetBytes ?? 0,
    lengthBytes: lengthBytes ?? 0,
    uncompressedBytes: uncompressedBytes ?? 0,
  };
}

export function formatTocPosition(place: ZstdPlace): string {
  return `${formatTarSplitPosition(place)}:${tocType}`;
}

export function formatTarSplitPosition(place: ZstdPlace): string {
  return `${place.offsetBytes}:${place.lengthBytes}:${place.uncompressedBytes}`;
}

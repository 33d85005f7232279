/**
 * What a request to prefetch means for a pack: runs of pieces, in the order they were named.
 *
 * @module
 */
import type { PrefetchRequest } from "../control.ts";
import type { FillablePack } from "../fillable-pack.ts";
import { type Run, runsOf } from "./span.ts";

export function prefetchRuns(pack: FillablePack, request: PrefetchRequest): Run[] {
  const { ranges, blobEndBytes, hashes } = request;
  if (ranges === undefined && blobEndBytes === undefined && hashes === undefined) {
    return [{ first: 0, end: pack.pieces.length }];
  }
  return [
    ...runsOf(blobEndBytes === undefined ? [] : beforeInBlob(pack, blobEndBytes)),
    ...(ranges ?? []).map(([offsetBytes, lengthBytes]) => {
      const [first, end] = pack.pieces.covering(offsetBytes, lengthBytes);
      return { first, end };
    }),
    ...runsOf((hashes ?? []).flatMap((hash) => pieceOf(pack, hash) ?? [])),
  ];
}

/** Pieces are nearly in the order of the blob, but nothing depends on that. */
function beforeInBlob({ pieces }: FillablePack, endBytes: number): number[] {
  const found: number[] = [];
  for (let piece = 0; piece < pieces.length; piece++) {
    if (pieces.blobOffsetOf(piece) < endBytes) found.push(piece);
  }
  return found;
}

function pieceOf({ pieces }: FillablePack, hash: string): number | undefined {
  return pieces.find(Buffer.from(hash, "hex"));
}

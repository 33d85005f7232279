/**
 * What a trace means for a pack: runs of its pieces, in the order in which they will be needed.
 *
 * @module
 */
import { KiB } from "../../util/bytes.ts";
import { type PrefetchRun, rankedRuns } from "../fill/run-list.ts";
import { runsOf } from "../fill/span.ts";
import type { FillablePack } from "../fillable-pack.ts";

/**
 * Pieces that are needed at about the same time are fetched in the order of the blob, where
 * neighbours come with one request. A link of 25 Mbit/s takes a sixth of a second for so much.
 */
const batchBytes = 512 * KiB;

interface Needed {
  readonly piece: number;
  readonly rank: number;
}

/**
 * @param hashes of the trace, in its order
 * @returns runs of pieces, there or not; none where the pack has nothing of the trace
 */
export function replayRuns(pack: FillablePack, hashes: Iterable<string>): PrefetchRun[] {
  const runs: PrefetchRun[] = [];
  let batch: Needed[] = [];
  let bytes = 0;
  const flush = (): void => {
    const pieces = batch.map(({ piece }) => piece).sort((left, right) => left - right);
    const rank = batch[0]?.rank ?? 0;
    runs.push(...rankedRuns(runsOf(pieces), "trace", rank));
    batch = [];
    bytes = 0;
  };
  for (const needed of neededOf(pack, hashes)) {
    batch.push(needed);
    bytes += pack.pieces.compressedBytesOf(needed.piece);
    if (bytes >= batchBytes) flush();
  }
  flush();
  return runs;
}

function* neededOf(pack: FillablePack, hashes: Iterable<string>): Generator<Needed> {
  let rank = -1;
  for (const hash of hashes) {
    rank += 1;
    const piece = pack.findPiece(Buffer.from(hash, "hex"));
    if (piece !== undefined) yield { piece, rank };
  }
}

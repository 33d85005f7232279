/** What the filler did since the process began; `FillCounters`, as it counts. */
import type { FillCounters } from "../control.ts";

export type FillCounts = { -readonly [Name in keyof FillCounters]: FillCounters[Name] };

export function newCounts(): FillCounts {
  return {
    requests: 0,
    failedRequests: 0,
    fetchedBytes: 0,
    fetches: 0,
    readBytes: 0,
    copiedBytes: 0,
    filledBytes: 0,
    mismatches: 0,
    retries: 0,
    timeouts: 0,
    prefetchedPieces: 0,
  };
}

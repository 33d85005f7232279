/**
 * What several starts of an image have in common, though no two are the same.
 *
 * @module
 */
import { startsKept, type TraceEntry, tracePiecesMax } from "./format.ts";

interface Ranked {
  readonly entry: TraceEntry;
  readonly rank: number;
}

/**
 * The pieces of both, by the earliest place that either gives them. A piece that none of the last
 * starts read is left out; where there are too many, those go first that fewer starts read.
 *
 * @param stored of earlier starts
 * @param started of the newest one
 * @param couldRead whether the newest start would have been seen to read it: what the node had
 *   already, by another image, is not read from a lazy pack
 */
export function mergeTraces(
  stored: readonly TraceEntry[],
  started: readonly TraceEntry[],
  couldRead: (entry: TraceEntry) => boolean,
): TraceEntry[] {
  const fresh = new Map<string, Ranked>();
  for (const [rank, entry] of started.entries()) fresh.set(entry.sha256, { entry, rank });
  const merged: Ranked[] = [];
  for (const [rank, entry] of stored.entries()) {
    const now = fresh.get(entry.sha256);
    fresh.delete(entry.sha256);
    if (now !== undefined) {
      const starts = remember("x", entry.starts);
      merged.push({ entry: { ...now.entry, starts }, rank: Math.min(rank, now.rank) });
    } else if (couldRead(entry)) {
      const starts = remember("-", entry.starts);
      if (starts.includes("x")) merged.push({ entry: { ...entry, starts }, rank });
    } else merged.push({ entry, rank });
  }
  merged.push(...fresh.values());
  merged.sort((left, right) => left.rank - right.rank);
  return withinBounds(merged.map(({ entry }) => entry));
}

function remember(start: "x" | "-", before: string): string {
  return `${start}${before}`.slice(0, startsKept);
}

function withinBounds(entries: readonly TraceEntry[]): TraceEntry[] {
  if (entries.length <= tracePiecesMax) return [...entries];
  const byUse = entries.map((entry, rank) => ({ rank, uses: usesOf(entry) }));
  byUse.sort((left, right) => right.uses - left.uses || left.rank - right.rank);
  const kept = byUse.slice(0, tracePiecesMax).map(({ rank }) => rank);
  return kept.sort((left, right) => left - right).map((rank) => entries[rank]!);
}

function usesOf({ starts }: TraceEntry): number {
  return starts.replaceAll("-", "").length;
}

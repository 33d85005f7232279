/** Traces for tests. */
import { createHash } from "node:crypto";
import type { TraceEntry } from "../../../src/ondemand/trace/format.ts";

/** The hash of a name. */
export function hashOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

/** An entry for each name, in this order. */
export function traceOf(names: Iterable<string>, facts: Partial<TraceEntry> = {}): TraceEntry[] {
  const unknown = { digest: "", offsetBytes: 0, sizeBytes: 0, atMs: 0, starts: "x" };
  return Array.from(names, (name) => ({ sha256: hashOf(name), ...unknown, ...facts }));
}

/** The names of the entries, where they are those of letters. */
export function namesOf(entries: readonly TraceEntry[]): string {
  const names = new Map(Array.from("abcdefghijklmnopqrstuvwxyz", (name) => [hashOf(name), name]));
  return entries.map(({ sha256 }) => names.get(sha256) ?? "?").join("");
}

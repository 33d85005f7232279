/** What all benchmarks share: medians, and a report that says on which machine. */
import { cpus, release } from "node:os";
import { say } from "../lib/project.ts";

/** The value below which this share of the values lies; NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** Prints a Markdown table, and all results as JSON for whoever wants to look closer. */
export function report(
  title: string,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
  results: unknown,
): void {
  const machine = `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, Linux ${release()}`;
  const heading = [title, ...columns];
  say(`\n${machine}; medians\n`);
  say(`| ${heading.join(" | ")} |`);
  say(`| ${heading.map((_, index) => (index === 0 ? "---" : "---:")).join(" | ")} |`);
  for (const row of rows) say(`| ${row.join(" | ")} |`);
  say(`\n${JSON.stringify({ machine, title, results })}\n`);
}

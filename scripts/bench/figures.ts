/** What all benchmarks share: medians, and a report that says on which machine. */
import { cpus, release, totalmem } from "node:os";
import { GiB } from "../../src/util/bytes.ts";
import { say } from "../lib/project.ts";

/** The value below which this share of the values lies; NaN for none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The machine on which it was measured. */
export function machine(): string {
  const memory = `${Math.round(totalmem() / GiB)} GiB`;
  return `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, ${memory}, Linux ${release()}`;
}

function tableLine(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

/** The lines of a table whose first column is text and whose others are numbers. */
export function tableLines(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
): string[] {
  const rule = heading.map((_, index) => (index === 0 ? "---" : "---:"));
  return [heading, rule, ...rows].map(tableLine);
}

/** Prints a Markdown table, and all results as JSON for whoever wants to look closer. */
export function report(
  title: string,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
  results: unknown,
): void {
  say(`\n${machine()}; medians\n`);
  for (const line of tableLines([title, ...columns], rows)) say(line);
  say(`\n${JSON.stringify({ machine: machine(), title, results })}\n`);
}

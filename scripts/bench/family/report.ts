/**
 * The results as Markdown.
 *
 * @module
 */
import { machine } from "../figures.ts";
import { goalTable } from "./goal-table.ts";
import { imageTables } from "./image-tables.ts";
import type { RoundsByContender } from "./results.ts";

export function reportFamily(results: RoundsByContender): string {
  const all = [...results.values()].flat();
  const loads = all.flatMap(({ load }) => load);
  const range = [Math.min(...loads), Math.max(...loads)].map((load) => load.toFixed(1));
  const rounds = Math.max(...all.map(({ round }) => round));
  const conditions = [
    machine(),
    "containerd 2.1, registry on loopback",
    `rounds: ${rounds}, medians`,
    `load average: ${range.join(" to ")}`,
  ];
  const lines = [
    "## The image family, side by side",
    "",
    conditions.join("; "),
    "",
    ...goalTable(results),
    ...imageTables(results),
    "",
  ];
  return lines.join("\n");
}

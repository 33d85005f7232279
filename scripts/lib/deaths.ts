/**
 * Daemons that ended by themselves during a test file. Some tests want that; where one fails, it is
 * often the reason, which nobody could tell from the error of a client.
 *
 * @module
 */
import { appendFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runFolder } from "./temp.ts";

const linesKept = 10;

function deathsFile(): string | undefined {
  const folder = runFolder();
  return folder === undefined ? undefined : join(folder, "deaths.log");
}

/** @param text who ended and how; of a long one the last lines are kept */
export function noteDeath(text: string): void {
  const file = deathsFile();
  if (file === undefined) return;
  const lines = text.trimEnd().split("\n");
  const kept = lines.length > linesKept ? [lines[0], "…", ...lines.slice(-linesKept)] : lines;
  appendFileSync(file, `${kept.join("\n")}\n`);
}

/** What was noted since the last time; empty where nothing was. */
export function takeDeaths(): string {
  const file = deathsFile();
  if (file === undefined || !existsSync(file)) return "";
  const text = readFileSync(file, "utf8");
  rmSync(file);
  return text;
}

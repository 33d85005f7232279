/** What all commands share: errors for people, and output. */
import { AppError, describeError } from "../errors.ts";

/** Runs a command; an error becomes one line, its remedy another, and exit code 1. */
export async function guard(command: () => Promise<void> | void): Promise<void> {
  try {
    await command();
  } catch (error) {
    process.stderr.write(`error: ${describeError(error)}\n`);
    if (error instanceof AppError && error.remedy)
      process.stderr.write(`remedy: ${error.remedy}\n`);
    process.exitCode = 1;
  }
}

export function printLine(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** Rows as columns, the first left-aligned, the others right-aligned. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, cell.length);
    });
  }
  for (const row of rows) {
    const cells = row.map((cell, index) =>
      index === 0 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0),
    );
    printLine(cells.join("  ").trimEnd());
  }
}

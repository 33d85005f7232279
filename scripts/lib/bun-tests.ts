/**
 * Tests that Bun runs: a whole folder in one process, or each of its files in a process of its own.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { takeDeaths } from "./deaths.ts";
import { runAttached } from "./process.ts";
import { projectFolder, seconds } from "./project.ts";
import { type TestResult, parseJunit, result } from "./results.ts";

/** A test that hangs ends here; the slowest one takes seconds, on a loaded machine a minute. */
const testTimeoutMs = 180_000;

/**
 * What blocks the thread of the tests, such as a read that nobody answers, ends here, with its
 * process: no timer within it would. The slowest file takes two minutes.
 */
const processTimeoutMs = 600_000;

/** @param path of a folder or file below the project */
async function runBun(path: string, report: string): Promise<TestResult[]> {
  const startMs = performance.now();
  const exitCode = await runAttached(
    [
      "bun",
      "test",
      path,
      `--timeout=${testTimeoutMs}`,
      "--reporter=junit",
      `--reporter-outfile=${report}`,
    ],
    { cwd: projectFolder, timeoutMs: processTimeoutMs },
  );
  const results = existsSync(report) ? parseJunit(await Bun.file(report).text()) : [];
  const reason = takeDeaths();
  if (exitCode === 0) return results;
  if (reason !== "") {
    results.push({ ...result(`${path}: a daemon ended by itself`, false, startMs), reason });
  }
  if (results.some(({ outcome }) => outcome === "failed")) return results;
  const hasHung = performance.now() - startMs >= processTimeoutMs;
  const end = hasHung
    ? `did not end within ${seconds(processTimeoutMs)}`
    : `ended with ${exitCode}`;
  return [...results, result(`${path}: bun test ${end}`, false, startMs)];
}

/** The tests of a folder, in one process; a file that does not load counts as a failed test. */
export function runTestFolder(folder: string, scratch: string): Promise<TestResult[]> {
  return runBun(folder, join(scratch, `${basename(folder)}.xml`));
}

/** The tests of a folder, each file in its own process, so that one that hangs stops no other. */
export async function runTestFiles(folder: string, scratch: string): Promise<TestResult[]> {
  const files = [...new Bun.Glob(`${folder}/**/*.test.ts`).scanSync(projectFolder)].sort();
  const results: TestResult[] = [];
  for (const [index, file] of files.entries()) {
    results.push(...(await runBun(file, join(scratch, `${basename(folder)}-${index}.xml`))));
  }
  return results;
}

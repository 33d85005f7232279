/**
 * `npm test [-- stage …]`: everything, or the named stages. The last line is the count.
 *
 * All tests keep their files below one scratch folder. After each stage nothing may be left that
 * belongs to it: no process, no mount, no loop device.
 *
 * @module
 */
import { release } from "node:os";
import { describeError } from "../src/errors.ts";
import { build } from "./build.ts";
import { ensurePackages } from "./lib/apt.ts";
import { ensureForky } from "./lib/forky.ts";
import { findLeftovers, releaseBelow } from "./lib/leftovers.ts";
import { say, seconds } from "./lib/project.ts";
import { type TestResult, result } from "./lib/results.ts";
import { type Stage, stages } from "./lib/stages.ts";
import { runInScratch } from "./lib/scratch-run.ts";

const packages = [
  "containerd",
  "runc",
  "docker-registry",
  "erofs-utils",
  "e2fsprogs",
  "openssl",
] as const;

/** Skips that are not ours; with CI set, any other skip is a failure. */
const expectedSkips: readonly RegExp[] = [
  // The suite of containerd 1.6 skips it itself: rename of a directory needs redirect_dir.
  /^conformance (?:file|loop) > TestSuite\/Rename$/,
];

const slowestShown = 10;
/** Of the error of a failed test. */
const reasonLinesShown = 12;

/** Stages by name or first word of the name: `conformance` is both of them. */
function chooseStages(names: readonly string[]): readonly Stage[] {
  const unknown = names.find((name) => !stages.some((stage) => isCalled(stage, name)));
  if (unknown !== undefined) {
    const known = stages.map(({ name }) => name).join(", ");
    throw new Error(`No stage is called "${unknown}"; there are: ${known}`);
  }
  return stages.filter(
    (stage) => names.length === 0 || names.some((name) => isCalled(stage, name)),
  );
}

function isCalled(stage: Stage, name: string): boolean {
  return stage.name === name || stage.name.split(" ")[0] === name;
}

/** One failed test for all that a stage left behind, which is then removed. */
async function auditLeftovers(stage: string, scratch: string): Promise<TestResult[]> {
  const found = findLeftovers(scratch);
  for (const thing of found) say(`left behind: ${thing}`);
  await releaseBelow(scratch);
  const name = `${stage} > leaves no process, mount or loop device`;
  return [result(name, found.length === 0, performance.now())];
}

async function runStage(stage: Stage, scratch: string): Promise<TestResult[]> {
  const startMs = performance.now();
  say(`\n== ${stage.name}`);
  let results: TestResult[];
  try {
    results = await stage.run(scratch);
  } catch (error) {
    say(describeError(error));
    results = [result(`${stage.name}: ${String(error).split("\n")[0]}`, false, startMs)];
  }
  return [...results, ...(await auditLeftovers(stage.name, scratch))];
}

function isExpectedSkip(name: string): boolean {
  return expectedSkips.some((pattern) => pattern.test(name));
}

/** In CI a skip must be an expected one, or nobody would notice tests that never run. */
function judgeSkips(results: readonly TestResult[]): TestResult[] {
  const isStrict = (process.env["CI"] ?? "") !== "";
  return results.map((test) => {
    if (!isStrict || test.outcome !== "skipped" || isExpectedSkip(test.name)) return test;
    return { ...test, name: `${test.name} (skipped)`, outcome: "failed" };
  });
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** The name and how the reason begins: whoever sees only the end of the output can act on it. */
function printFailure({ name, reason = "" }: TestResult): void {
  print(`FAILED: ${name}`);
  const lines = reason.split("\n").filter((line) => line !== "");
  for (const line of lines.slice(0, reasonLinesShown)) print(`  ${line}`);
}

function printSummary(
  results: readonly TestResult[],
  durations: ReadonlyMap<string, number>,
): void {
  const of = (outcome: string) => results.filter((test) => test.outcome === outcome);
  print(`\nStages (Linux ${release()}, Bun ${Bun.version}):`);
  for (const [name, durationMs] of durations) print(`  ${seconds(durationMs).padStart(8)} ${name}`);
  print("Slowest tests:");
  const slowest = [...results].sort((left, right) => right.durationMs - left.durationMs);
  for (const { durationMs, name } of slowest.slice(0, slowestShown)) {
    print(`  ${seconds(durationMs).padStart(8)} ${name}`);
  }
  for (const { name } of of("skipped")) print(`skipped: ${name}`);
  for (const test of of("failed")) printFailure(test);
  const skipped = of("skipped").length;
  const counts = `${of("passed").length} passed, ${of("failed").length} failed`;
  print(skipped === 0 ? counts : `${counts}, ${skipped} skipped`);
}

async function installAndBuild(chosen: readonly Stage[]): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error("Cannot run the tests: they need root");
  await ensurePackages(packages);
  if (chosen.some(({ name }) => name === "e2e")) await ensureForky();
  if (chosen.some(({ usesBinary }) => usesBinary)) await build();
}

/** Runs the stages one after the other; a failed installation or build is the only result then. */
async function runStages(
  chosen: readonly Stage[],
  scratch: string,
  durations: Map<string, number>,
): Promise<TestResult[]> {
  const results: TestResult[] = [];
  const timed = async <T>(name: string, task: () => Promise<T>): Promise<T> => {
    const startMs = performance.now();
    const value = await task();
    durations.set(name, performance.now() - startMs);
    return value;
  };
  try {
    await timed("install and build", () => installAndBuild(chosen));
  } catch (error) {
    const messages = error instanceof AggregateError ? error.errors : [error];
    for (const message of messages) say(describeError(message));
    return [result("install and build", false, performance.now())];
  }
  for (const stage of chosen) {
    results.push(...(await timed(stage.name, () => runStage(stage, scratch))));
  }
  return results;
}

async function main(): Promise<boolean> {
  const chosen = chooseStages(process.argv.slice(2));
  const durations = new Map<string, number>();
  const results = await runInScratch((scratch) => runStages(chosen, scratch, durations));
  const judged = judgeSkips(results);
  printSummary(judged, durations);
  return judged.every(({ outcome }) => outcome !== "failed");
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  say(describeError(error));
  process.exitCode = 1;
}

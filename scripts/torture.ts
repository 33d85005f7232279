/**
 * `npm run torture [-- --minutes N --seed S --backend fuse|fanotify]`: readers of lazy layers that
 * verify every byte, in eight ways, while a seeded adversary kills processes at random points and
 * at every named failpoint, has the registry lie, fills the disk, and replaces layers. `--fault
 * NAME` has dedupd do something wrong, which must be found.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { describeError } from "../src/errors.ts";
import { faults } from "../src/util/failpoint.ts";
import { formatSize } from "../src/util/bytes.ts";
import { say } from "./lib/project.ts";
import { runInScratch } from "./lib/scratch-run.ts";
import { torture, type TortureOptions, type TortureReport } from "./torture/run.ts";

const usage = "Usage: npm run torture -- [--minutes N] [--seed S] [--backend fuse|fanotify]";

function readOptions(): TortureOptions & { readonly seed: string } {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "2" },
      seed: { type: "string", default: String(Date.now()) },
      backend: { type: "string", default: "fuse" },
      megabytes: { type: "string", default: "500" },
      fault: { type: "string" },
    },
  });
  const minutes = Number(values.minutes);
  const megabytes = Number(values.megabytes);
  const { seed, backend } = values;
  if (!(minutes > 0 && megabytes > 0) || (backend !== "fuse" && backend !== "fanotify"))
    throw new Error(usage);
  const endMs = performance.now() + minutes * 60_000;
  const fault = faults.find((name) => name === values.fault);
  return {
    backend,
    seed,
    megabytes,
    hungMs: 180_000,
    ...(fault !== undefined && { fault }),
    isOver: () => performance.now() > endMs,
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0;
}

/** A run with fewer may not have come to all failpoints. */
const killsMin = 300;

/** @returns what is wrong */
function print(report: TortureReport): readonly string[] {
  const { kills, actions, takeoversMs, reads, lies, leaks, unvisited } = report;
  for (const [name, count] of [...actions, ...reads.ways])
    say(`${String(count).padStart(6)} ${name}`);
  say(`${kills} kills; ${reads.files} files, ${formatSize(reads.bytes)} read; ${lies} lies told`);
  const [middle, longest] = [median(takeoversMs), Math.max(0, ...takeoversMs)];
  say(`takeover: ${middle.toFixed(0)} ms in the median, at most ${longest.toFixed(0)} ms`);
  const missed = kills < killsMin ? [] : unvisited.map((name) => `nobody came to ${name}`);
  const problems = [...reads.problems, ...leaks, ...missed];
  for (const problem of problems) say(`PROBLEM ${problem}`);
  return problems;
}

try {
  const options = readOptions();
  say(`torture of ${options.backend}, seed ${options.seed}`);
  const report = await runInScratch((folder) => torture(folder, options));
  process.exitCode = print(report).length === 0 ? 0 : 1;
} catch (error) {
  say(describeError(error));
  process.exitCode = 1;
}

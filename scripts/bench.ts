/**
 * `npm run bench`: figures of the daemon on this machine, as a Markdown table and as JSON.
 *
 * Measured on the compiled binary, in a scratch folder: memory at rest and while a large layer is
 * converted, the time of Stat meanwhile, start and size. Several rounds, medians.
 *
 * @module
 */
import { cpSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { TestDaemon } from "../test/support/daemon.ts";
import { randomBytes } from "../test/support/random.ts";
import { SnapshotsClient } from "../test/support/snapshots-client.ts";
import { build } from "./build.ts";
import { binaryFile, say } from "./lib/project.ts";
import { runInScratch } from "./lib/scratch-run.ts";
import { scratchFolder } from "./lib/temp.ts";

const rounds = 5;
const largeFileMiB = 600;
const smallFiles = 30_000;
const smallFileBytes = 3_000;
const MiB = 1024 * 1024;

interface Round {
  readonly startMs: number;
  readonly idleRssMiB: number;
  readonly peakRssMiB: number;
  readonly conversionSeconds: number;
  readonly statP50Ms: number;
  readonly statP99Ms: number;
  readonly statMaxMs: number;
}

/** `VmRSS` or `VmHWM` of a process, in MiB. */
function memoryMiB(pid: number, field: "VmRSS" | "VmHWM"): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const match = new RegExp(`^${field}:\\s+([0-9]+) kB`, "m").exec(status);
  return Number(match?.[1] ?? Number.NaN) / 1024;
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** What a layer is converted from: one large file and many small ones, all different. */
function makeContent(folder: string): void {
  mkdirSync(join(folder, "small"), { recursive: true });
  const large = randomBytes("large", largeFileMiB * MiB);
  writeFileSync(join(folder, "large"), large);
  for (let index = 0; index < smallFiles; index++) {
    const start = index * smallFileBytes;
    const path = join(folder, "small", `${index}`);
    writeFileSync(path, large.subarray(start, start + smallFileBytes));
  }
}

async function measure(content: string): Promise<Round> {
  using folder = scratchFolder("bench");
  const beforeStart = performance.now();
  await using daemon = await TestDaemon.start(folder.path, { logLevel: "info" });
  const startMs = performance.now() - beforeStart;
  using client = new SnapshotsClient(daemon.socket);
  await client.stat("warm");
  const idleRssMiB = memoryMiB(daemon.pid, "VmRSS");
  const [mount] = await client.prepare("key", "");
  cpSync(content, mount?.source ?? "", { recursive: true });
  const conversion = { isDone: false };
  const begin = performance.now();
  const commit = client.commit("layer", "key").finally(() => {
    conversion.isDone = true;
  });
  const times: number[] = [];
  while (!conversion.isDone) {
    const before = performance.now();
    await client.stat("key");
    times.push(performance.now() - before);
  }
  await commit;
  const conversionSeconds = (performance.now() - begin) / 1000;
  const peakRssMiB = memoryMiB(daemon.pid, "VmHWM");
  times.sort((left, right) => left - right);
  await client.removeAll();
  await daemon.stop();
  return {
    startMs,
    idleRssMiB,
    peakRssMiB,
    conversionSeconds,
    statP50Ms: percentile(times, 0.5),
    statP99Ms: percentile(times, 0.99),
    statMaxMs: times.at(-1) ?? Number.NaN,
  };
}

function median(results: readonly Round[], field: keyof Round): number {
  return percentile(
    results.map((one) => one[field]).toSorted((a, b) => a - b),
    0.5,
  );
}

const labels: Readonly<Record<keyof Round, string>> = {
  startMs: "start until the socket answers, ms",
  idleRssMiB: "resident memory at rest, MiB",
  peakRssMiB: "resident memory, peak of a conversion, MiB",
  conversionSeconds: `conversion of ${largeFileMiB} MiB + ${smallFiles} small files, s`,
  statP50Ms: "Stat during the conversion, median, ms",
  statP99Ms: "Stat during the conversion, 99th percentile, ms",
  statMaxMs: "Stat during the conversion, longest, ms",
};

function report(results: readonly Round[]): void {
  const machine = `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, Linux ${release()}`;
  say(`\n${machine}; medians of ${rounds} rounds\n\n| figure | median |\n| --- | --- |`);
  for (const field of Object.keys(labels) as (keyof Round)[]) {
    say(`| ${labels[field]} | ${median(results, field).toFixed(2)} |`);
  }
  say(`| size of the binary, MiB | ${(statSync(binaryFile).size / MiB).toFixed(1)} |`);
  say(`\n${JSON.stringify({ machine, results })}`);
}

await build();
await runInScratch(async (scratch) => {
  const content = join(scratch, "content");
  makeContent(content);
  const results: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    say(`round ${round} of ${rounds}`);
    results.push(await measure(content));
  }
  report(results);
});

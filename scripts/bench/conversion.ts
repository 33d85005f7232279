/**
 * The daemon alone: memory at rest and while a large layer is converted, the time Stat takes then,
 * start and size.
 *
 * @module
 */
import { cpSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestDaemon } from "../../test/support/daemon.ts";
import { randomBytes } from "../../test/support/random.ts";
import { SnapshotsClient } from "../../test/support/snapshots-client.ts";
import { memoryMiB } from "../lib/memory.ts";
import { binaryFile, say } from "../lib/project.ts";
import { scratchFolder } from "../lib/temp.ts";
import { median, percentile, report } from "./figures.ts";

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
  await client.removeAll();
  await daemon.stop();
  return {
    startMs,
    idleRssMiB,
    peakRssMiB,
    conversionSeconds,
    statP50Ms: percentile(times, 0.5),
    statP99Ms: percentile(times, 0.99),
    statMaxMs: percentile(times, 1),
  };
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

/** @param scratch a folder for what is measured with */
export async function benchConversion(scratch: string): Promise<void> {
  const content = join(scratch, "content");
  makeContent(content);
  const results: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    say(`conversion: round ${round} of ${rounds}`);
    results.push(await measure(content));
  }
  const rows = (Object.keys(labels) as (keyof Round)[]).map((field): [string, string] => [
    labels[field],
    median(results.map((one) => one[field])).toFixed(2),
  ]);
  const sizeMiB = statSync(binaryFile).size / MiB;
  report("figure", ["median"], [...rows, ["size of the binary, MiB", sizeMiB.toFixed(1)]], results);
}

/**
 * `npm run fuzz [-- --minutes N --seed S]`: damaged tars and random layers until the time is up.
 *
 * Two kinds in turn: tars with random damage, which must give a tree or a clear error, and chains
 * of random layers, which must give what containerd's own differ gives. What fails is printed with
 * its seed and can be run again with it.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { describeError } from "../src/errors.ts";
import { fuzzTar } from "../test/fuzz/tar-fuzz.ts";
import { compareChains } from "../test/support/tar/containerd-apply.ts";
import { randomChain } from "../test/support/tar/random-layers.ts";
import { say } from "./lib/project.ts";
import { runInScratch } from "./lib/scratch-run.ts";
import { scratchFolder } from "./lib/temp.ts";

/** Of each kind, before the other has its turn. */
const roundInputs = 500;
const usage = "Usage: npm run fuzz -- [--minutes N] [--seed S]";

interface Options {
  readonly minutes: number;
  readonly seed: string;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "1" },
      seed: { type: "string", default: String(Date.now()) },
    },
  });
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new Error(usage);
  return { minutes, seed: values.seed };
}

async function damagedTars(seeds: readonly string[]): Promise<string[]> {
  const failures: string[] = [];
  for (const seed of seeds) {
    const problem = await fuzzTar(seed);
    if (problem !== undefined) failures.push(`damaged tar "${seed}": ${problem}`);
  }
  return failures;
}

async function randomLayers(seeds: readonly string[]): Promise<string[]> {
  using folder = scratchFolder("fuzz");
  const results = await compareChains(folder.path, seeds.map(randomChain));
  return results.flatMap(({ differences }, index) =>
    differences.length === 0 ? [] : [`random layers "${seeds[index]}": ${differences.join("\n")}`],
  );
}

/** The failures of all rounds that began in time. */
async function fuzz({ minutes, seed }: Options): Promise<number> {
  const endMs = performance.now() + minutes * 60_000;
  let failed = 0;
  let round = 0;
  for (; performance.now() < endMs; round++) {
    const seeds = Array.from({ length: roundInputs }, (_, index) => `${seed} ${round} ${index}`);
    const failures = [...(await damagedTars(seeds)), ...(await randomLayers(seeds))];
    for (const failure of failures) say(failure);
    failed += failures.length;
  }
  say(`seed ${seed}: ${round * roundInputs} inputs of each kind, ${failed} failed`);
  return failed;
}

try {
  const options = readOptions();
  process.exitCode = (await runInScratch(() => fuzz(options))) === 0 ? 0 : 1;
} catch (error) {
  say(describeError(error));
  process.exitCode = 1;
}

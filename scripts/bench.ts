/**
 * `npm run bench [-- conversion|memory|pull]`: figures of this machine, as Markdown tables and as
 * JSON. Several rounds, medians; peers side by side in the same run.
 *
 * @module
 */
import { benchConversion } from "./bench/conversion.ts";
import { benchMemory } from "./bench/memory.ts";
import { benchPull } from "./bench/pull.ts";
import { build } from "./build.ts";
import { runInScratch } from "./lib/scratch-run.ts";

const benchmarks: Readonly<Record<string, (scratch: string) => Promise<void>>> = {
  conversion: benchConversion,
  memory: benchMemory,
  pull: benchPull,
};

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(benchmarks);
await build();
await runInScratch(async (scratch) => {
  for (const name of names) {
    const benchmark = benchmarks[name];
    if (benchmark === undefined) {
      throw new Error(`No benchmark "${name}"; there are: ${Object.keys(benchmarks).join(", ")}`);
    }
    await benchmark(scratch);
  }
});

/**
 * `npm run bench [-- conversion|memory|pull|family|lazy|lazy-life] [flags]`: figures of this
 * machine, as Markdown tables and as JSON. Several rounds, medians; peers side by side in the same
 * run.
 *
 * Flags, of `family` and `lazy`: `--set full|small` (family only), `--only image,…`,
 * `--peers name,…`, `--rounds N`, `--out FILE`.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { benchConversion } from "./bench/conversion.ts";
import { familyFlags, readFamilyOptions } from "./bench/family/options.ts";
import { benchFamily } from "./bench/family.ts";
import { readLazyOptions } from "./bench/lazy/options.ts";
import { benchLazy } from "./bench/lazy.ts";
import { benchLazyLife } from "./bench/lazy-life.ts";
import { benchMemory } from "./bench/memory.ts";
import { benchPull } from "./bench/pull.ts";
import { build } from "./build.ts";
import { runInScratch } from "./lib/scratch-run.ts";

const { values, positionals } = parseArgs({ options: familyFlags, allowPositionals: true });

const benchmarks: Readonly<Record<string, (scratch: string) => Promise<void>>> = {
  conversion: benchConversion,
  memory: benchMemory,
  pull: benchPull,
  family: (scratch) => benchFamily(scratch, readFamilyOptions(values)),
  "lazy-life": benchLazyLife,
  lazy: (scratch) => benchLazy(scratch, readLazyOptions(values)),
};

const names = positionals.length > 0 ? positionals : Object.keys(benchmarks);
const unknown = names.find((name) => benchmarks[name] === undefined);
if (unknown !== undefined) {
  throw new Error(`No benchmark "${unknown}"; there are: ${Object.keys(benchmarks).join(", ")}`);
}
await build();
await runInScratch(async (scratch) => {
  for (const name of names) await benchmarks[name]?.(scratch);
});

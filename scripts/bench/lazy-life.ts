/**
 * Lazy images after their start: reads while content is missing and when none is, beside a layer
 * that was pulled as a whole; takeover after kill -9; dedupd's memory with many images.
 *
 * @module
 */
import { verdict } from "./family/goal-table.ts";
import { machine, median, tableLines } from "./figures.ts";
import { largeFiles, largeImage, manyImages } from "./lazy-life/images.ts";
import { residentMiB } from "./lazy-life/memory.ts";
import { type LazyBackend, lazyReads, localReads, type Reads } from "./lazy-life/reads.ts";
import { type Takeover, takeovers } from "./lazy-life/takeover.ts";
import { say } from "../lib/project.ts";

const backends: readonly LazyBackend[] = ["fuse", "fanotify"];
const imageCount = 50;
const filesEach = 400;
const readers = 14;
/** Of the reads: where on the disk something lies makes a difference of a fifth. */
const rounds = 3;

const columns = {
  firstSequential: "first in order, MB/s",
  coldSequential: "cold in order, MB/s",
  warmSequential: "warm in order, MB/s",
  coldRandom: "cold 4 KiB, µs",
  warmRandom: "warm 4 KiB, µs",
} as const;

type Limit = { readonly must: number; readonly aim: number };
type Column = keyof typeof columns;

/** The medians over the rounds, for each file and state of the layer. */
function mediansOf(results: readonly Reads[]): Reads[] {
  const groups = Map.groupBy(results, ({ backend, stage, file }) => `${file} ${stage} ${backend}`);
  return [...groups.values()].flatMap(([first, ...others]) => {
    if (first === undefined) return [];
    const all = [first, ...others];
    const of = (column: Column) => median(all.map((reads) => reads[column]));
    const { backend, stage, file } = first;
    return {
      backend,
      stage,
      file,
      firstSequential: of("firstSequential"),
      coldSequential: of("coldSequential"),
      warmSequential: of("warmSequential"),
      coldRandom: of("coldRandom"),
      warmRandom: of("warmRandom"),
    };
  });
}

function times(value: number): string {
  return `${value.toFixed(2)}×`;
}

/** Times what the local layer does; more is better. */
function ratio(reads: Reads, local: Reads, column: Column): number {
  const value = reads[column] / local[column];
  return column.endsWith("Random") ? 1 / value : value;
}

function readLines(results: readonly Reads[]): string[] {
  const rows = results.map((reads) => {
    const local = results.find(({ stage, file }) => stage === "local" && file === reads.file);
    const cells = (Object.keys(columns) as Column[]).map((column) => {
      const value = reads[column].toFixed(column.endsWith("Random") ? 1 : 0);
      const isPeer = local === undefined || reads.stage === "local";
      return isPeer ? value : `${value} (${times(ratio(reads, local, column))})`;
    });
    return [`${reads.file}, ${reads.stage}, ${reads.backend}`, ...cells];
  });
  return tableLines(["file, state of the layer, backend", ...Object.values(columns)], rows);
}

/** The worst of both files: the goals hold for each. */
function worst(results: readonly Reads[], stage: string, chosen: readonly Column[]): number {
  const ratios = largeFiles.flatMap((file) => {
    const local = results.find((each) => each.file === file && each.stage === "local");
    const own = results.find(
      (each) => each.file === file && each.stage === stage && each.backend === "fanotify",
    );
    if (local === undefined || own === undefined) return [];
    return chosen.map((column) => ratio(own, local, column));
  });
  return Math.min(...ratios);
}

function goalLines(
  reads: readonly Reads[],
  waits: readonly Takeover[],
  resident: readonly number[],
): string[] {
  const all: readonly Column[] = ["firstSequential", "warmSequential", "coldRandom", "warmRandom"];
  const least = { must: 0.98, aim: 1 };
  const half = { must: 0.5, aim: 0.8 };
  const complete = worst(reads, "complete", all);
  const ordinary = worst(reads, "ordinary", all);
  const incomplete = worst(reads, "incomplete", ["firstSequential", "warmSequential"]);
  const slowest = Math.max(
    ...waits.flatMap(({ isKilled, waitMs }) => (isKilled ? waitMs / 1000 : [])),
  );
  const largest = Math.max(...resident) * 1.048576;
  const takeover = { must: 2, aim: 0.3 };
  const memory = { must: 120, aim: 80 };
  const rows: [title: string, text: string, limit: Limit, ok: string][] = [
    ["complete / local, the worst", times(complete), least, verdict(complete, least, true)],
    ["ordinary again / local, the worst", times(ordinary), least, verdict(ordinary, least, true)],
    ["incomplete / local, in order", times(incomplete), half, verdict(incomplete, half, true)],
    ["takeover, the slowest, s", slowest.toFixed(2), takeover, verdict(slowest, takeover)],
    [`dedupd, ${imageCount} images, MB`, largest.toFixed(0), memory, verdict(largest, memory)],
  ];
  return tableLines(
    ["figure", "measured", "must reach", "aim for", "ok?"],
    rows.map(([title, text, { must, aim }, ok]) => [title, text, `${must}`, `${aim}`, ok]),
  );
}

function takeoverLines(waits: readonly Takeover[]): string[] {
  const groups = Map.groupBy(
    waits,
    ({ backend, isKilled }) => `${backend}, ${isKilled ? "killed" : "not killed"}`,
  );
  const rows = [...groups].map(([name, group]) => {
    const waitsMs = group.map(({ waitMs }) => waitMs);
    return [name, median(waitsMs).toFixed(0), Math.max(...waitsMs).toFixed(0)];
  });
  return tableLines(["dedupd", "the reader goes on after, ms", "the slowest"], rows);
}

/** @param scratch a folder for images */
export async function benchLazyLife(scratch: string): Promise<void> {
  const image = await largeImage(scratch);
  const results: Reads[] = [];
  for (let round = 1; round <= rounds; round++) {
    say(`lazy-life: reads, round ${round} of ${rounds}`);
    results.push(...(await localReads(image)));
    for (const backend of backends) results.push(...(await lazyReads(image, backend)));
  }
  const reads = mediansOf(results);
  const waits: Takeover[] = [];
  for (const backend of backends) {
    say(`lazy-life: ${backend}, takeover`);
    waits.push(...(await takeovers(image, backend, readers)));
  }
  const many = await manyImages(scratch, imageCount, filesEach);
  const resident: number[] = [];
  for (const backend of backends) {
    say(`lazy-life: ${backend}, memory`);
    resident.push(await residentMiB(many, backend));
  }
  say(`\n${machine()}; medians of ${rounds} rounds\n`);
  const sizes = resident.map((mib, index) => `${backends[index]} ${mib.toFixed(0)} MiB`);
  const lines = [...readLines(reads), "", ...takeoverLines(waits), ""];
  for (const line of [...lines, ...goalLines(reads, waits, resident), "", sizes.join(", ")]) {
    say(line);
  }
}

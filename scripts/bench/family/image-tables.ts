/**
 * The figures of each image.
 *
 * @module
 */
import { MiB } from "../../../src/util/bytes.ts";
import { median, tableLines } from "../figures.ts";
import {
  contenderTitles,
  cpuSecondsOf,
  medianOf,
  type Pick,
  type RoundsByContender,
  show,
} from "./results.ts";

interface Column {
  readonly title: string;
  readonly decimals: number;
  readonly pick: Pick;
}

const MB = 1_000_000;

const columns: readonly Column[] = [
  { title: "Pull, s", decimals: 2, pick: ({ pull }) => pull.seconds },
  {
    title: "CPU seconds of containerd and us during the pull",
    decimals: 2,
    pick: cpuSecondsOf,
  },
  { title: "New on disk, MB", decimals: 1, pick: ({ pull }) => pull.newBytes / MB },
  {
    title: "Peak memory of our daemon, MiB",
    decimals: 0,
    pick: ({ pull }) => pull.daemonMemory.ownBytes / MiB,
  },
  { title: "Start, cold, ms", decimals: 0, pick: ({ start }) => start?.coldMs },
  {
    title: "Start, warm, ms",
    decimals: 0,
    pick: ({ start }) => (start === undefined ? undefined : median(start.warmMs)),
  },
];

function imageTable(column: Column, results: RoundsByContender): string[] {
  const images = [...([...results.values()][0]?.[0]?.images.keys() ?? [])];
  const contenders = [...results.keys()];
  const rows = images.map((image) => {
    const rounds = contenders.map((name) => results.get(name) ?? []);
    const values = rounds.map((each) => medianOf(each, image, column.pick));
    return [image].concat(values.map((value) => show(value, column.decimals)));
  });
  const titles = contenders.map((name) => contenderTitles[name]);
  return ["", `### ${column.title}`, "", ...tableLines(["image", ...titles], rows)];
}

/** A table for each figure that every image has. */
export function imageTables(results: RoundsByContender): string[] {
  return columns.flatMap((column) => imageTable(column, results));
}

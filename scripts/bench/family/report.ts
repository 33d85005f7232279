/**
 * The results as Markdown tables.
 *
 * @module
 */
import { cpus, release, totalmem } from "node:os";
import { GiB } from "../../../src/util/bytes.ts";
import { median } from "../figures.ts";
import type { ContenderName } from "./contenders.ts";
import { type Goal, goals } from "./goals.ts";
import { type ImageResult, medianOf, type RoundResult } from "./results.ts";

type ByContender = ReadonlyMap<ContenderName, readonly RoundResult[]>;

/** Whose figures are held to the thresholds. */
const judged: ContenderName = "dedup";

const headings: Readonly<Record<ContenderName, string>> = {
  overlayfs: "overlayfs",
  erofs: "containerd erofs",
  dedup: "dedup",
  "dedup mkfs": "dedup, mkfs",
};

function tableOf(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = heading.map((_, index) => (index === 0 ? "---" : "---:"));
  return [line(heading), line(rule), ...rows.map(line), ""];
}

function show(value: number | undefined, decimals: number): string {
  return value === undefined ? "–" : value.toFixed(decimals);
}

/** Whether a value is as good as a threshold; more may be better. */
function reaches(value: number, threshold: number, isMoreBetter: boolean): boolean {
  return isMoreBetter ? value >= threshold : value <= threshold;
}

function verdict(value: number, must: number, aim: number | undefined, goal: Goal): string {
  const isMoreBetter = goal.isMoreBetter ?? false;
  if (!reaches(value, must, isMoreBetter)) return "**missed**";
  return aim !== undefined && reaches(value, aim, isMoreBetter) ? "aim reached" : "ok";
}

/** One row for each threshold of a goal, or one without. */
function goalRows(goal: Goal, results: ByContender): string[][] {
  const values = new Map([...results].map(([name, rounds]) => [name, goal.figure(rounds)]));
  const own = values.get(judged);
  if ([...values.values()].every((value) => value === undefined)) return [];
  const cells = [goal.title, ...[...values.values()].map((value) => show(value, goal.decimals))];
  const sign = goal.isMoreBetter === true ? "≥" : "≤";
  const rows = goal.limits.map(({ to, must, aim }) => {
    const peer = to === undefined ? 1 : values.get(to);
    const against = to === undefined ? "" : `× ${headings[to]}`;
    if (own === undefined || peer === undefined) return [...cells, "–", "", "", "–"];
    const value = own / peer;
    const limit = (threshold: number) =>
      `${sign} ${to === undefined ? threshold.toFixed(1) : threshold}`;
    return [
      ...cells,
      to === undefined ? show(own, goal.decimals) : `${value.toFixed(2)} ${against}`,
      limit(must),
      aim === undefined ? "" : limit(aim),
      verdict(value, must, aim, goal),
    ];
  });
  return rows.length > 0 ? rows : [[...cells, "", "", "", ""]];
}

interface Column {
  readonly title: string;
  readonly decimals: number;
  pick(result: ImageResult): number | undefined;
}

const MB = 1_000_000;
const perImage: readonly Column[] = [
  { title: "Pull, s", decimals: 2, pick: ({ pull }) => pull.seconds },
  {
    title: "CPU seconds of containerd and us during the pull",
    decimals: 2,
    pick: ({ pull }) => pull.containerdCpuSeconds + pull.daemonCpuSeconds,
  },
  { title: "New on disk, MB", decimals: 1, pick: ({ pull }) => pull.newBytes / MB },
  {
    title: "Peak memory of our daemon and its children, MiB",
    decimals: 0,
    pick: ({ pull: { daemonMemory } }) =>
      (daemonMemory.ownBytes + daemonMemory.childrenBytes) / 1024 ** 2,
  },
  { title: "Start, cold, ms", decimals: 0, pick: ({ start }) => start?.coldMs },
  {
    title: "Start, warm, ms",
    decimals: 0,
    pick: ({ start }) => (start === undefined ? undefined : median(start.warmMs)),
  },
];

function imageTable({ title, decimals, pick }: Column, results: ByContender): readonly string[] {
  const images = [...([...results.values()][0]?.[0]?.images.keys() ?? [])];
  const names = [...results.keys()];
  const rows = images.map((image) => {
    const values = names.map((name) => medianOf(results.get(name) ?? [], image, pick));
    return [image, ...values.map((value) => show(value, decimals))];
  });
  const isMeasured = rows.some((row) => row.slice(1).some((cell) => cell !== "–"));
  if (!isMeasured) return [];
  return [`### ${title}`, "", ...tableOf(["image", ...names.map((name) => headings[name])], rows)];
}

/** The machine on which it was measured. */
export function machine(): string {
  const memory = `${Math.round(totalmem() / GiB)} GiB`;
  return `${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, ${memory}, Linux ${release()}`;
}

export function report(results: ByContender): string {
  const all = [...results.values()].flat();
  const loads = all.flatMap(({ load }) => load);
  const range = [Math.min(...loads), Math.max(...loads)].map((load) => load.toFixed(1));
  const rounds = Math.max(...all.map(({ round }) => round));
  const heading = ["figure", ...[...results.keys()].map((name) => headings[name])];
  return [
    "## The image family, side by side",
    "",
    `${machine()}; containerd 2.1, registry on loopback; medians of ${rounds} rounds; ` +
      `load average ${range.join("–")}`,
    "",
    ...tableOf(
      [...heading, "measured", "must reach", "aim for", "ok?"],
      goals.flatMap((goal) => goalRows(goal, results)),
    ),
    ...perImage.flatMap((column) => imageTable(column, results)),
  ].join("\n");
}

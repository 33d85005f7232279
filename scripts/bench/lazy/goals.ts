/**
 * The figures of lazy images, and what they have to be.
 *
 * @module
 */
import { tableLines } from "../figures.ts";
import { verdict } from "../family/goal-table.ts";
import {
  type LinkName,
  links,
  type Measurement,
  type PickNumber,
  sumOfMedians,
} from "./results.ts";

/** One number divided by another, of one link. */
interface Ratio {
  readonly title: string;
  readonly link: LinkName;
  readonly of: readonly [contender: string, pick: PickNumber];
  readonly to: readonly [contender: string, pick: PickNumber];
  readonly must: number;
  readonly aim: number;
}

const ready: PickNumber = ({ readyMs }) => readyMs;
const again: PickNumber = ({ againMs }) => againMs;
const fuse = "dedup fuse";
const fanotify = "dedup fanotify";
const withTrace = "dedup fanotify with trace";

const besideStargz: readonly Ratio[] = (Object.keys(links) as LinkName[]).flatMap((link) => {
  const common = { link, to: ["stargz", ready] } as const;
  return [
    { title: "ready, fuse / stargz", of: [fuse, ready], must: 0.9, aim: 0.6, ...common },
    { title: "ready, fanotify / stargz", of: [fanotify, ready], must: 0.7, aim: 0.5, ...common },
  ];
});

const ratios: readonly Ratio[] = [
  ...[fuse, fanotify].map((contender): Ratio => ({
    title: `ready, ${contender} / overlayfs`,
    link: "100 Mbit/s",
    of: [contender, ready],
    to: ["overlayfs", ready],
    must: 0.35,
    aim: 0.15,
  })),
  ...besideStargz,
  ...[fuse, fanotify].map((contender): Ratio => ({
    title: `second run, ${contender} / stargz`,
    link: "unshaped",
    of: [contender, again],
    to: ["stargz", again],
    must: 0.7,
    aim: 0.55,
  })),
  {
    title: "ready, with a trace / without",
    link: "25 Mbit/s",
    of: [withTrace, ready],
    to: [fanotify, ready],
    must: 0.6,
    aim: 0.35,
  },
  {
    title: "content fetched until ready / touched",
    link: "25 Mbit/s",
    of: [fanotify, ({ fill }) => fill?.filledBytes],
    to: [fanotify, ({ fill }) => fill?.touchedBytes],
    must: 1.3,
    aim: 1.1,
  },
  {
    title: "prefetched with a trace and never used / prefetched",
    link: "25 Mbit/s",
    of: [withTrace, ({ fill }) => fill && fill.prefetchedBytes - fill.usedBytes],
    to: [withTrace, ({ fill }) => fill?.prefetchedBytes],
    must: 0.2,
    aim: 0.05,
  },
];

/** A row for each goal of which both numbers were measured. */
export function lazyGoalTable(results: readonly Measurement[]): string[] {
  const rows = ratios.flatMap((ratio) => {
    const { title, link, of, to, must, aim } = ratio;
    const value = sumOfMedians(results, link, ...of);
    const peer = sumOfMedians(results, link, ...to);
    if (value === undefined || peer === undefined) return [];
    const measured = value / peer;
    const wanted = [must, aim].map((limit) => `≤ ${limit}×`);
    return [[title, link, `${measured.toFixed(2)}×`, ...wanted, verdict(measured, ratio)]];
  });
  return tableLines(["figure", "link", "measured", "must reach", "aim for", "ok?"], rows);
}

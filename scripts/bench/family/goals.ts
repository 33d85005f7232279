/**
 * The figures of the family, and what they have to be beside overlayfs and containerd's erofs.
 *
 * @module
 */
import { MiB } from "../../../src/util/bytes.ts";
import { median } from "../figures.ts";
import { changedWeightBlocks, weightBlockBytes } from "../images/generated.ts";
import { isFamily, isModel } from "../images/recipes.ts";
import type { ContenderName } from "./contenders.ts";
import {
  cpuSecondsOf,
  maxOfMedians,
  medianOf,
  type Pick,
  type RoundResult,
  sumOfMedians,
} from "./results.ts";

/** Of the rounds of one contender; undefined where it was not measured. */
type Figure = (rounds: readonly RoundResult[]) => number | undefined;

export interface Limit {
  /** Undefined: the figure itself, not its ratio to that of a peer. */
  readonly to?: ContenderName;
  readonly must: number;
  readonly aim?: number;
}

export interface Goal {
  readonly title: string;
  readonly figure: Figure;
  readonly decimals: number;
  readonly isMoreBetter?: boolean;
  /** None: shown beside the others, with no threshold. */
  readonly limits: readonly Limit[];
}

const MB = 1_000_000;

function imagesOf(rounds: readonly RoundResult[]): string[] {
  return [...(rounds[0]?.images.keys() ?? [])].filter(isFamily);
}

function sum(pick: Pick): Figure {
  return (rounds) => sumOfMedians(rounds, imagesOf(rounds), pick);
}

function of(image: string, pick: Pick): Figure {
  return (rounds) => medianOf(rounds, image, pick);
}

const newMb: Pick = ({ pull }) => pull.newBytes / MB;

/** What the images have on disk: each adds to those before it. */
function diskMb(counts: (image: string) => boolean): Figure {
  return (rounds) => sumOfMedians(rounds, imagesOf(rounds).filter(counts), newMb);
}

function peak(pick: Pick): Figure {
  return (rounds) => maxOfMedians(rounds, imagesOf(rounds), pick);
}

const vsOverlayfs = (must: number, aim?: number): readonly Limit[] => [
  { to: "overlayfs", must, ...(aim === undefined ? {} : { aim }) },
];
const changedWeightsMb = (changedWeightBlocks.length * weightBlockBytes) / MB;

const pullGoals: readonly Goal[] = [
  {
    title: "pull of the family, s",
    figure: sum(({ pull }) => pull.seconds),
    decimals: 1,
    limits: [
      { to: "overlayfs", must: 0.5, aim: 0.3 },
      { to: "erofs", must: 0.6, aim: 0.35 },
    ],
  },
  {
    title: "pull of the family until it is synced, s",
    figure: sum(({ pull }) => pull.syncedSeconds),
    decimals: 1,
    limits: [],
  },
  {
    title: "CPU of containerd and us meanwhile, s",
    figure: sum(cpuSecondsOf),
    decimals: 1,
    limits: vsOverlayfs(1.2, 0.9),
  },
  {
    title: "disk without the models, MB",
    figure: diskMb((image) => !isModel(image)),
    decimals: 0,
    limits: vsOverlayfs(0.22, 0.18),
  },
  {
    title: "disk of the whole family, MB",
    figure: diskMb(() => true),
    decimals: 0,
    limits: vsOverlayfs(0.3, 0.28),
  },
  {
    title: "new on disk: app:2 after app:1, MB",
    figure: of("app:2", newMb),
    decimals: 1,
    limits: [{ must: 40, aim: 30 }],
  },
  {
    title: `new on disk: model:2 after model:1 (${changedWeightsMb.toFixed(1)} changed), MB`,
    figure: of("model:2", newMb),
    decimals: 1,
    limits: [{ must: changedWeightsMb * 1.01 }],
  },
  {
    title: "blobs containerd keeps besides, MB",
    figure: peak(({ pull }) => pull.blobBytes / MB),
    decimals: 0,
    limits: [],
  },
  {
    title: "peak memory of our daemon, MiB",
    figure: peak(({ pull }) => pull.daemonMemory.ownBytes / MiB),
    decimals: 0,
    limits: [{ must: 300 }],
  },
  {
    title: "peak memory of our daemon's children, MiB",
    figure: peak(({ pull }) => pull.daemonMemory.childrenBytes / MiB),
    decimals: 0,
    limits: [],
  },
  {
    title: "peak memory of containerd, MiB",
    figure: peak(({ pull }) => pull.containerdMemory.ownBytes / MiB),
    decimals: 0,
    limits: [],
  },
  {
    title: "peak memory of containerd's children, MiB",
    figure: peak(({ pull }) => pull.containerdMemory.childrenBytes / MiB),
    decimals: 0,
    limits: [],
  },
];

const startGoals: readonly Goal[] = [
  {
    title: "start of the commands, cold, ms",
    figure: sum(({ start }) => start?.coldMs),
    decimals: 0,
    limits: vsOverlayfs(1.1, 0.9),
  },
  {
    title: "start of the commands, warm, ms",
    figure: sum(({ start }) => (start === undefined ? undefined : median(start.warmMs))),
    decimals: 0,
    limits: vsOverlayfs(1.05, 1),
  },
];

function readGoals(image: string, what: string): readonly Goal[] {
  const isWeights = isModel(image);
  return [
    {
      title: `${what}: in order, cold, MB/s`,
      figure: of(image, ({ read }) => read?.coldSequential),
      decimals: 0,
      isMoreBetter: true,
      limits: isWeights ? vsOverlayfs(0.95, 1) : vsOverlayfs(1, 1.3),
    },
    {
      title: `${what}: in order, warm, MB/s`,
      figure: of(image, ({ read }) => read?.warmSequential),
      decimals: 0,
      isMoreBetter: true,
      limits: vsOverlayfs(0.95, 1),
    },
    {
      title: `${what}: 4 KiB at random, cold, µs`,
      figure: of(image, ({ read }) => read?.coldRandom),
      decimals: 0,
      limits: isWeights ? [] : vsOverlayfs(4, 2),
    },
    {
      title: `${what}: 4 KiB at random, warm, µs`,
      figure: of(image, ({ read }) => read?.warmRandom),
      decimals: 2,
      limits: [],
    },
  ];
}

const walkGoals: readonly Goal[] = [
  {
    title: "names and status of all files of node:1, cold, ms",
    figure: of("node:1", ({ walk }) => walk?.coldMs),
    decimals: 0,
    limits: [],
  },
  {
    title: "names and status of all files of node:1, warm, ms",
    figure: of("node:1", ({ walk }) => walk?.warmMs),
    decimals: 0,
    limits: [],
  },
];

export const goals: readonly Goal[] = [
  ...pullGoals,
  ...startGoals,
  ...readGoals("text:1", "300 MiB of text"),
  ...readGoals("model:1", "600 MiB of weights"),
  ...walkGoals,
];

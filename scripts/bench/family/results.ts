/**
 * What a benchmark of the family finds out, and how several rounds become one number.
 *
 * @module
 */
import { median } from "../figures.ts";
import type { ContenderName } from "./contenders.ts";
import type { PullResult } from "./pull.ts";
import type { ReadResult } from "./read.ts";
import type { StartResult } from "./start.ts";
import type { WalkResult } from "./walk.ts";

export interface ImageResult {
  readonly pull: PullResult;
  readonly start?: StartResult;
  readonly read?: ReadResult;
  readonly walk?: WalkResult;
}

/** One contender in one round; images in the order in which they were pulled. */
export interface RoundResult {
  readonly contender: ContenderName;
  readonly round: number;
  /** The machine's load average of the last minute, when the round began and ended. */
  readonly load: readonly [number, number];
  readonly images: ReadonlyMap<string, ImageResult>;
}

export type RoundsByContender = ReadonlyMap<ContenderName, readonly RoundResult[]>;

export const contenderTitles: Readonly<Record<ContenderName, string>> = {
  overlayfs: "overlayfs",
  erofs: "containerd erofs",
  dedup: "dedup",
  "dedup mkfs": "dedup, mkfs",
};

/** A number of a table; a dash for what was not measured. */
export function show(value: number | undefined, decimals: number): string {
  return value === undefined ? "–" : value.toFixed(decimals);
}

/** One number of an image; undefined where it was not measured. */
export type Pick = (result: ImageResult) => number | undefined;

/** The median over all rounds of one number of an image; undefined where it was not measured. */
export function medianOf(
  rounds: readonly RoundResult[],
  image: string,
  pick: Pick,
): number | undefined {
  const values = rounds.flatMap(({ images }) => {
    const result = images.get(image);
    const value = result === undefined ? undefined : pick(result);
    return value === undefined ? [] : [value];
  });
  return values.length === 0 ? undefined : median(values);
}

/** The sum of the medians over those images of the list that were measured. */
export function sumOfMedians(
  rounds: readonly RoundResult[],
  images: readonly string[],
  pick: Pick,
): number | undefined {
  const values = images.flatMap((image) => medianOf(rounds, image, pick) ?? []);
  return values.length === 0 ? undefined : values.reduce((sum, each) => sum + each, 0);
}

/** The largest of the medians over those images of the list that were measured. */
export function maxOfMedians(
  rounds: readonly RoundResult[],
  images: readonly string[],
  pick: Pick,
): number | undefined {
  const values = images.flatMap((image) => medianOf(rounds, image, pick) ?? []);
  return values.length === 0 ? undefined : Math.max(...values);
}

/** Of all who take part in a pull. */
export const cpuSecondsOf: Pick = ({ pull }) => pull.containerdCpuSeconds + pull.daemonCpuSeconds;

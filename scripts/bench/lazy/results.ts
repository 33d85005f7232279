/**
 * What a benchmark of lazy images finds out, and how rounds and images become one number.
 *
 * @module
 */
import type { LinkSpeed } from "../../lib/slow-link.ts";
import { median } from "../figures.ts";
import type { ReadyResult } from "./ready.ts";

export const links = {
  unshaped: { bitsPerSecond: undefined, roundTripMs: 0 },
  "100 Mbit/s": { bitsPerSecond: 100e6, roundTripMs: 10 },
  "25 Mbit/s": { bitsPerSecond: 25e6, roundTripMs: 10 },
} as const satisfies Record<string, LinkSpeed>;

export type LinkName = keyof typeof links;

export interface Measurement extends ReadyResult {
  readonly link: LinkName;
  readonly image: string;
  readonly contender: string;
}

/** A number of a measurement; undefined where it was not taken. */
export type PickNumber = (result: ReadyResult) => number | undefined;

/** The sum over the images of the medians over the rounds; undefined where one is missing. */
export function sumOfMedians(
  results: readonly Measurement[],
  link: LinkName,
  contender: string,
  pick: PickNumber,
): number | undefined {
  const ours = results.filter((result) => result.link === link && result.contender === contender);
  let sum = 0;
  for (const rounds of Map.groupBy(ours, ({ image }) => image).values()) {
    const values = rounds.flatMap((result) => pick(result) ?? []);
    if (values.length < rounds.length) return undefined;
    sum += median(values);
  }
  return ours.length === 0 ? undefined : sum;
}

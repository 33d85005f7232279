/**
 * The figures beside each other, and whether ours are what they have to be.
 *
 * @module
 */
import { tableLines } from "../figures.ts";
import { type Goal, goals, type Limit } from "./goals.ts";
import { contenderTitles, type RoundsByContender, show } from "./results.ts";

/** Whose figures are held to the thresholds. */
const judged = "dedup";

type Values = ReadonlyMap<string, number | undefined>;

/** Whether a value is as good as a threshold; more may be better. */
export function reaches(value: number, threshold: number, isMoreBetter = false): boolean {
  return isMoreBetter ? value >= threshold : value <= threshold;
}

/** How a value stands to what it must be and what it should be; more may be better. */
export function verdict(
  value: number,
  { must, aim }: Pick<Limit, "must" | "aim">,
  isMoreBetter = false,
): string {
  if (!reaches(value, must, isMoreBetter)) return "**missed**";
  return aim !== undefined && reaches(value, aim, isMoreBetter) ? "aim reached" : "ok";
}

/** The cells after those of the contenders: measured, must reach, aim for, ok. */
function judgement({ decimals, isMoreBetter }: Goal, limit: Limit, values: Values): string[] {
  const { to, must, aim } = limit;
  const own = values.get(judged);
  const peer = to === undefined ? 1 : values.get(to);
  const sign = isMoreBetter === true ? "≥" : "≤";
  const text = (threshold: number) =>
    `${sign} ${to === undefined ? threshold.toFixed(1) : `${threshold}×`}`;
  const wanted = [text(must), aim === undefined ? "" : text(aim)];
  if (own === undefined || peer === undefined) return ["–", ...wanted, "–"];
  const value = own / peer;
  const ratio = to === undefined ? "" : `${value.toFixed(2)}× ${contenderTitles[to]}`;
  const measured = to === undefined ? show(own, decimals) : ratio;
  return [measured, ...wanted, verdict(value, limit, isMoreBetter)];
}

/** One row for each threshold of a goal, or one without; none for what was not measured. */
function goalRows(goal: Goal, results: RoundsByContender): string[][] {
  const values = new Map([...results].map(([name, rounds]) => [name, goal.figure(rounds)]));
  const numbers = [...values.values()];
  if (numbers.every((value) => value === undefined)) return [];
  const cells = [goal.title].concat(numbers.map((value) => show(value, goal.decimals)));
  if (goal.limits.length === 0) return [cells.concat("", "", "", "")];
  return goal.limits.map((limit) => cells.concat(judgement(goal, limit, values)));
}

export function goalTable(results: RoundsByContender): string[] {
  const contenders = [...results.keys()].map((name) => contenderTitles[name]);
  return tableLines(
    ["figure", ...contenders, "measured", "must reach", "aim for", "ok?"],
    goals.flatMap((goal) => goalRows(goal, results)),
  );
}

/**
 * Times of a table of contents (RFC 3339), as Go writes and reads them.
 *
 * @module
 */
import type { PaxTime } from "../tar/pax.ts";

const pattern =
  /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))$/;

/** `0000-01-01T00:00:00Z` and `9999-12-31T23:59:59Z`: Go writes no other years. */
const secondsMin = -62_167_219_200;
const secondsMax = 253_402_300_799;
/** Go's zero time, which stands for no time at all. */
const zeroTime = "0001-01-01T00:00:00Z";

const noTime: PaxTime = { seconds: 0, nanoseconds: 0 };

let lastText = zeroTime;
let lastTime: PaxTime | undefined = noTime;

/** Empty and Go's zero time are 1970; undefined for what is no time. */
export function parseTocTime(text: string): PaxTime | undefined {
  if (text === "") return noTime;
  // The files of a package, which follow each other, have the time of the package.
  if (text !== lastText) {
    lastTime = text === zeroTime ? noTime : parseTime(text);
    lastText = text;
  }
  return lastTime;
}

function parseTime(text: string): PaxTime | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const part = (index: number) => Number(match[index] ?? 0);
  const [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map(part);
  const date = new Date(0);
  date.setUTCFullYear(year ?? 0, (month ?? 0) - 1, day ?? 0);
  const isDate = date.getUTCMonth() + 1 === month && date.getUTCDate() === day;
  if (!isDate || part(4) > 23 || part(5) > 59 || part(6) > 59) return undefined;
  date.setUTCHours(hour ?? 0, minute ?? 0, second ?? 0);
  const zoneMinutes = (match[8] === "-" ? -1 : 1) * (60 * part(9) + part(10));
  return {
    seconds: date.getTime() / 1000 - 60 * zoneMinutes,
    nanoseconds: Number((match[7] ?? "").padEnd(9, "0")),
  };
}

/** Undefined for a time whose year has no four digits. */
export function formatTocTime({ seconds, nanoseconds }: PaxTime): string | undefined {
  if (seconds < secondsMin || seconds > secondsMax) return undefined;
  const whole = new Date(seconds * 1000).toISOString().slice(0, "0000-00-00T00:00:00".length);
  const fraction = nanoseconds.toString().padStart(9, "0").replace(/0+$/, "");
  return fraction === "" ? `${whole}Z` : `${whole}.${fraction}Z`;
}

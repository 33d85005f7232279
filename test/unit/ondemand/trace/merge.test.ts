import { describe, expect, test } from "bun:test";
import {
  startsKept,
  type TraceEntry,
  tracePiecesMax,
} from "../../../../src/ondemand/trace/format.ts";
import { mergeTraces } from "../../../../src/ondemand/trace/merge.ts";
import { namesOf, traceOf } from "../../../support/ondemand/traces.ts";

const always = () => true;

function startsOf(entries: readonly TraceEntry[]): string[] {
  return entries.map(({ starts }) => starts);
}

function manyNames(word: string): string[] {
  return Array.from({ length: tracePiecesMax }, (_, index) => `${word} ${index}`);
}

describe("mergeTraces()", () => {
  test("orders by the earliest place that either start gives", () => {
    expect(namesOf(mergeTraces(traceOf("abcd"), traceOf("dxab"), always))).toBe("adbxc");
  });

  test("remembers which starts read a piece", () => {
    const merged = mergeTraces(traceOf("abc"), traceOf("cd"), always);
    expect(namesOf(merged)).toBe("acbd");
    expect(startsOf(merged)).toEqual(["-x", "xx", "-x", "x"]);
  });

  test("forgets what none of the last starts read", () => {
    let trace = traceOf("ab");
    const lengths: number[] = [];
    for (let start = 0; start < startsKept; start++) {
      trace = mergeTraces(trace, traceOf("a"), always);
      lengths.push(trace.length);
    }
    expect(lengths).toEqual([2, 2, 2, 1]);
    expect(trace).toEqual(traceOf("a", { starts: "x".repeat(startsKept) }));
  });

  test("does not hold against a piece that the start could not be seen to read", () => {
    let trace = traceOf("ab");
    const [, b] = trace;
    for (let start = 0; start < startsKept * 2; start++) {
      trace = mergeTraces(trace, traceOf("a"), ({ sha256 }) => sha256 !== b!.sha256);
    }
    expect(namesOf(trace)).toBe("ab");
  });

  test("takes times and places from the newest start", () => {
    const before = traceOf("a", { atMs: 5, offsetBytes: 1 });
    const now = traceOf("a", { atMs: 9, offsetBytes: 2 });
    expect(mergeTraces(before, now, always)[0]).toMatchObject({ atMs: 9, offsetBytes: 2 });
  });

  test("keeps what recurs where there is too much", () => {
    const once = traceOf(manyNames("once"), { starts: "-x" });
    const often = traceOf(manyNames("often").slice(0, 10), { starts: "xx" });
    const merged = mergeTraces([...once, ...often], [], () => false);
    expect(merged).toHaveLength(tracePiecesMax);
    expect(merged.slice(-10)).toEqual(often);
    expect(merged.slice(0, -10)).toEqual(once.slice(0, -10));
  });
});

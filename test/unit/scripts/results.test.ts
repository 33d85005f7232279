import { describe, expect, test } from "bun:test";
import { parseGoTest, parseJunit } from "../../../scripts/lib/results.ts";

describe("parseJunit()", () => {
  test("gives outcome, time and the whole name of every case", () => {
    const xml = `<?xml version="1.0"?>
<testsuites name="bun test" tests="3">
  <testsuite name="a.test.ts">
    <testcase name="ok&#10;&lt;1&gt;" classname="inner &gt; outer" time="0.25" file="a.test.ts" />
    <testcase name="bad" classname="outer" time="0" file="a.test.ts" line="2">
      <failure type="AssertionError" message="expected &quot;x&quot;">at a.test.ts</failure>
    </testcase>
    <testcase name="later" classname="" time="0" file="a.test.ts"><skipped /></testcase>
  </testsuite>
</testsuites>`;
    expect(parseJunit(xml)).toEqual([
      { name: "a.test.ts > outer > inner > ok\n<1>", outcome: "passed", durationMs: 250 },
      {
        name: "a.test.ts > outer > bad",
        outcome: "failed",
        durationMs: 0,
        reason: 'expected "x"',
      },
      { name: "a.test.ts > later", outcome: "skipped", durationMs: 0 },
    ]);
  });

  test("finds no cases in a file without any", () => {
    expect(parseJunit("<testsuites></testsuites>")).toEqual([]);
  });
});

describe("parseGoTest()", () => {
  test("takes subtests, and not the test that holds them", () => {
    const output = [
      "=== RUN   TestSuite/Basic",
      "    suite_test.go:1: --- not a result",
      "--- FAIL: TestSuite (1.00s)",
      "    --- PASS: TestSuite/Basic (0.50s)",
      "    --- FAIL: TestSuite/Walk (0.10s)",
      "    --- SKIP: TestSuite/Rename (0.00s)",
      "FAIL",
    ].join("\n");
    expect(parseGoTest(output)).toEqual([
      { name: "TestSuite/Basic", outcome: "passed", durationMs: 500 },
      { name: "TestSuite/Walk", outcome: "failed", durationMs: 100 },
      { name: "TestSuite/Rename", outcome: "skipped", durationMs: 0 },
    ]);
  });
});

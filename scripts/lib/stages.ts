/**
 * The stages of `npm test`, each with its way to run tests and to read their results.
 *
 * @module
 */
import { runSuite } from "../../test/conformance/suite.ts";
import { checkSource } from "../ok.ts";
import { runTestFiles, runTestFolder } from "./bun-tests.ts";
import { say } from "./project.ts";
import { type TestResult, parseGoTest, result } from "./results.ts";

export interface Stage {
  readonly name: string;
  /** Needs dist/dedup-snapshotter. */
  readonly usesBinary: boolean;
  run(scratch: string): Promise<TestResult[]>;
}

function conformanceStage(method: "file" | "loop"): Stage {
  const name = `conformance ${method}`;
  return {
    name,
    usesBinary: true,
    async run() {
      const startMs = performance.now();
      const output = await runSuite(method);
      const results = parseGoTest(output).map((test) => ({
        name: `${name} > ${test.name}`,
        outcome: test.outcome,
        durationMs: test.durationMs,
      }));
      const hasFailed = results.some(({ outcome }) => outcome === "failed");
      for (const test of results) say(`(${test.outcome}) ${test.name}`);
      if (hasFailed || !output.includes("\nPASS\n")) say(output);
      if (output.includes("\nPASS\n") || hasFailed) return results;
      const reason = output.slice(Math.max(0, output.indexOf("panic:")));
      return [...results, { ...result(`${name}: the suite did not end`, false, startMs), reason }];
    },
  };
}

export const stages: readonly Stage[] = [
  {
    name: "ok",
    usesBinary: false,
    run: async () =>
      (await checkSource()).map(({ name, passed, durationMs }) => ({
        name: `source > ${name}`,
        outcome: passed ? "passed" : "failed",
        durationMs,
      })),
  },
  { name: "unit", usesBinary: false, run: (scratch) => runTestFolder("test/unit", scratch) },
  {
    name: "integration",
    usesBinary: true,
    run: (scratch) => runTestFiles("test/integration", scratch),
  },
  conformanceStage("file"),
  conformanceStage("loop"),
  {
    name: "e2e",
    usesBinary: true,
    run: (scratch) => runTestFiles("test/e2e", scratch),
  },
];

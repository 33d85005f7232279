/**
 * The stages of `npm test`, each with its way to run tests and to read their results.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { runSuite } from "../../test/conformance/suite.ts";
import { checkSource } from "../ok.ts";
import { runAttached } from "./process.ts";
import { projectFolder, say } from "./project.ts";
import { type TestResult, parseGoTest, parseJunit } from "./results.ts";

export interface Stage {
  readonly name: string;
  /** Needs dist/dedup-snapshotter. */
  readonly usesBinary: boolean;
  run(scratch: string): Promise<TestResult[]>;
}

/** A test that hangs ends here; the slowest one takes seconds, on a loaded machine a minute. */
const testTimeoutMs = 180_000;

/** The outcome of something that is a test only for us. */
export function result(name: string, passed: boolean, startMs: number): TestResult {
  const durationMs = performance.now() - startMs;
  return { name, outcome: passed ? "passed" : "failed", durationMs };
}

/** Runs the tests of a folder with Bun; a file that does not load counts as a failed test. */
function bunStage(name: string, usesBinary: boolean): Stage {
  return {
    name,
    usesBinary,
    async run(scratch) {
      const startMs = performance.now();
      const report = join(scratch, `${name}.xml`);
      const exitCode = await runAttached(
        [
          "bun",
          "test",
          `test/${name}`,
          `--timeout=${testTimeoutMs}`,
          "--reporter=junit",
          `--reporter-outfile=${report}`,
        ],
        { cwd: projectFolder },
      );
      const results = existsSync(report) ? parseJunit(await Bun.file(report).text()) : [];
      const isExplained = results.some(({ outcome }) => outcome === "failed");
      if (exitCode === 0 || isExplained) return results;
      return [...results, result(`${name}: bun test exited with ${exitCode}`, false, startMs)];
    },
  };
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
      return [...results, result(`${name}: the suite did not end`, false, startMs)];
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
  bunStage("unit", false),
  bunStage("integration", true),
  conformanceStage("file"),
  conformanceStage("loop"),
  bunStage("e2e", true),
];

/**
 * `npm run ok`: everything that can be said about the source without running it.
 *
 * @module
 */
import { runAttached } from "./lib/process.ts";
import { projectFolder, say, seconds } from "./lib/project.ts";
import { tidy } from "./tidy.ts";

const commands: readonly (readonly [string, readonly string[]])[] = [
  ["format", ["bun", "fmt", "--check"]],
  ["types", ["bun", "check"]],
  // By Bun, because the Node.js of Debian 12 is older than oxlint asks for.
  ["lint", ["bun", "--bun", "oxlint", "--type-aware", "--deny-warnings"]],
];

export interface CheckResult {
  readonly name: string;
  readonly passed: boolean;
  readonly durationMs: number;
}

async function checkTidiness(): Promise<boolean> {
  const findings = await tidy();
  for (const { file, line, problem } of findings) say(`${file}:${line}: ${problem}`);
  return findings.length === 0;
}

async function timed(name: string, check: () => Promise<boolean>): Promise<CheckResult> {
  const startMs = performance.now();
  const passed = await check();
  const durationMs = performance.now() - startMs;
  say(`${passed ? "ok  " : "FAIL"} ${name} (${seconds(durationMs)})`);
  return { name, passed, durationMs };
}

/** Runs all checks, also after one of them failed. */
export async function checkSource(): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const [name, command] of commands) {
    const check = async () => (await runAttached(command, { cwd: projectFolder })) === 0;
    results.push(await timed(name, check));
  }
  return [...results, await timed("tidy", checkTidiness)];
}

if (import.meta.main) {
  const results = await checkSource();
  if (results.some(({ passed }) => !passed)) process.exitCode = 1;
}

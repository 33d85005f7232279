/**
 * Rules of the source that formatter, type check and linter do not know: sizes, banned words and
 * the direction of imports.
 *
 * Function lengths are measured by indentation, which is sound because the formatter sets it.
 *
 * @module
 */
import { Glob } from "bun";
import { dirname, join, normalize, relative } from "node:path";
import { projectFolder, say } from "./lib/project.ts";

const lineColumnsMax = 100;
const fileLinesMax = 400;
const functionLinesMax = 70;

const sources = new Glob("{src,ffi,scripts,test}/**/*.{ts,mjs,go}");
const generated = "src/rpc/gen/";
/** Names the banned words, so it cannot be held to that rule. */
const thisFile = "scripts/tidy.ts";

export interface Finding {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly problem: string;
}

interface Source {
  readonly file: string;
  readonly lines: readonly string[];
}

type Rule = (source: Source) => { readonly line: number; readonly problem: string }[];

const bannedPatterns: readonly (readonly [RegExp, string])[] = [
  [/\b(?:TODO|FIXME|XXX)\b/, "unfinished work: finish it or open an issue"],
  [/(?:^|["'`\s(])\/work\//, "a path of one machine"],
  [/[ \t]+$/, "trailing blanks"],
];

function checkSizes({ file, lines }: Source): ReturnType<Rule> {
  const found = lines.flatMap((text, index) => {
    // A tab of gofmt counts as one column; the formatter leaves strings it cannot break.
    const isLong = text.length > lineColumnsMax;
    return isLong ? [{ line: index + 1, problem: `${text.length} columns` }] : [];
  });
  if (lines.length - 1 <= fileLinesMax || file.startsWith("test/fixtures/")) return found;
  return [...found, { line: fileLinesMax, problem: `${lines.length - 1} lines in the file` }];
}

function checkBannedPatterns({ file, lines }: Source): ReturnType<Rule> {
  if (file === thisFile) return [];
  return lines.flatMap((text, index) =>
    bannedPatterns
      .filter(([pattern]) => pattern.test(text))
      .map(([, problem]) => ({ line: index + 1, problem })),
  );
}

const modifiers = String.raw`(?:(?:export|default|async|static|override|get|set) )*`;
const functionHead = new RegExp(String.raw`^${modifiers}\*?(?:function\b|func\b|[#\w]+\()`);
const controlHead = /^(?:\} )?(?:if|else|for|while|switch|catch|do|try|with)\b/;
/** A suite of tests is a list, not a function to understand at once. */
const suiteHead = /^describe(?:\.\w+(?:\([^)]*\))?)*\(/;

function opensFunction(text: string): boolean {
  const code = text.trimStart();
  if (!code.endsWith("{") || controlHead.test(code) || suiteHead.test(code)) return false;
  return code.endsWith("=> {") || functionHead.test(code) || /^\)(?:: .*)? \{$/.test(code);
}

function indentation(text: string): number {
  return text.length - text.trimStart().length;
}

function checkFunctionLengths({ lines }: Source): ReturnType<Rule> {
  return lines.flatMap((text, start) => {
    if (!opensFunction(text)) return [];
    const indent = indentation(text);
    const length = lines
      .slice(start + 1)
      .findIndex((next) => next.trimStart().startsWith("}") && indentation(next) === indent);
    if (length + 2 <= functionLinesMax) return [];
    return [{ line: start + 1, problem: `a function of ${length + 2} lines` }];
  });
}

/** Which folders may import a module; the product's layers depend in one direction. */
const importers: readonly (readonly [RegExp, RegExp])[] = [
  [/^bun:ffi$/, /^ffi\//],
  [/^bun:sqlite$/, /^(?:src\/(?:store|snapshot|check)\/|src\/util\/sqlite\.ts|test\/)/],
  [/^@grpc\//, /^(?:src\/rpc|test)\//],
  [/^hono(?:\/|$)/, /^(?:src\/http|test)\//],
];

/** What the files of a folder may import of the project; folders not named are free. */
const allowedImports: readonly (readonly [RegExp, RegExp])[] = [
  [/^src\/util\//, /^src\/(?:util\/|errors\.ts)/],
  [/^ffi\//, /^(?:ffi\/|src\/(?:util\/|errors\.ts))/],
  [/^src\/erofs\//, /^src\/(?:erofs\/|util\/|errors\.ts)/],
  [/^src\//, /^(?:src|ffi)\/|^package\.json$/],
];

const importLine = /(?:^|\s)(?:from|import)\s*\(?\s*"([^"]+)"/;

function importProblem(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) {
    const rule = importers.find(([module]) => module.test(specifier));
    return rule === undefined || rule[1].test(file) ? undefined : `imports ${specifier}`;
  }
  const target = normalize(join(dirname(file), specifier));
  const rules = allowedImports.filter(([folder]) => folder.test(file));
  return rules.every(([, allowed]) => allowed.test(target)) ? undefined : `imports ${target}`;
}

function checkImports({ file, lines }: Source): ReturnType<Rule> {
  return lines.flatMap((text, index) => {
    const specifier = importLine.exec(text)?.[1];
    // A type is not a dependency at run time; whose it is, the folder rules below still ask.
    const isForeignType = text.startsWith("import type") && specifier?.startsWith(".") === false;
    if (specifier === undefined || isForeignType) return [];
    const problem = importProblem(file, specifier);
    return problem === undefined ? [] : [{ line: index + 1, problem: `${problem} from here` }];
  });
}

const rules: readonly Rule[] = [
  checkSizes,
  checkBannedPatterns,
  checkFunctionLengths,
  checkImports,
];

/** The findings in one file; `file` is relative to the project. */
export function tidySource(file: string, text: string): Finding[] {
  const source = { file, lines: text.split("\n") };
  const found = rules.flatMap((rule) => rule(source));
  return found.map(({ line, problem }) => ({ file, line, problem }));
}

/** The findings in all sources but generated ones. */
export async function tidy(): Promise<Finding[]> {
  const findings: Finding[] = [];
  for await (const path of sources.scan({ cwd: projectFolder, absolute: true })) {
    const file = relative(projectFolder, path);
    if (file.startsWith(generated)) continue;
    findings.push(...tidySource(file, await Bun.file(path).text()));
  }
  return findings;
}

if (import.meta.main) {
  const findings = await tidy();
  for (const { file, line, problem } of findings) say(`${file}:${line}: ${problem}`);
  if (findings.length > 0) process.exitCode = 1;
}

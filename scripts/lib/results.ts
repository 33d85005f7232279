/**
 * Results of tests, whoever ran them: Bun's JUnit file and the output of `go test -v`.
 *
 * @module
 */

export type Outcome = "passed" | "failed" | "skipped";

export interface TestResult {
  readonly name: string;
  readonly outcome: Outcome;
  readonly durationMs: number;
  /** Of a failed test: what its error says, where the runner reports it. */
  readonly reason?: string | undefined;
}

/** The outcome of something that is a test only for us. */
export function result(name: string, passed: boolean, startMs: number): TestResult {
  const durationMs = performance.now() - startMs;
  return { name, outcome: passed ? "passed" : "failed", durationMs };
}

const entities: Readonly<Record<string, string>> = {
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&apos;": "'",
  "&amp;": "&",
};

function unescapeXml(text: string): string {
  return text
    .replaceAll(/&(?:lt|gt|quot|apos|amp);/g, (entity) => entities[entity] ?? entity)
    .replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)));
}

function attribute(tag: string, name: string): string {
  return unescapeXml(new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1] ?? "");
}

function outcomeOf(body: string): Outcome {
  if (body.includes("<failure") || body.includes("<error")) return "failed";
  return body.includes("<skipped") ? "skipped" : "passed";
}

function reasonOf(body: string): string | undefined {
  const [failure] = /<(?:failure|error)\s[^>]*>/.exec(body) ?? [];
  return failure === undefined ? undefined : attribute(failure, "message");
}

/** The test cases of a JUnit file as `bun test --reporter=junit` writes it. */
export function parseJunit(xml: string): TestResult[] {
  const testCase = /<testcase(?<tag>\s[^>]*?)(?:\/>|>(?<body>[\s\S]*?)<\/testcase>)/g;
  return [...xml.matchAll(testCase)].map(({ groups = {} }) => {
    const { tag = "", body = "" } = groups;
    const suites = attribute(tag, "classname").split(" > ").reverse();
    const name = [attribute(tag, "file"), ...suites, attribute(tag, "name")];
    return {
      name: name.filter((part) => part !== "").join(" > "),
      outcome: outcomeOf(body),
      durationMs: Number(attribute(tag, "time")) * 1000,
      reason: reasonOf(body),
    };
  });
}

const goOutcomes: Readonly<Record<string, Outcome>> = {
  PASS: "passed",
  FAIL: "failed",
  SKIP: "skipped",
};

/** The subtests in the output of `go test -v`; the test that only holds them is left out. */
export function parseGoTest(output: string): TestResult[] {
  const line = /^\s*--- (PASS|FAIL|SKIP): (\S+\/\S+) \(([0-9.]+)s\)$/gm;
  return [...output.matchAll(line)].map(([, word = "", name = "", time]) => ({
    name,
    outcome: goOutcomes[word] ?? "failed",
    durationMs: Number(time) * 1000,
  }));
}

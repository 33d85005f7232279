import { describe, expect, test } from "bun:test";
import { tidySource } from "../../../scripts/tidy.ts";

function problemsOf(file: string, text: string): string[] {
  return tidySource(file, text).map(({ line, problem }) => `${line}: ${problem}`);
}

describe("tidySource()", () => {
  test("finds nothing in tidy source", () => {
    const text = 'import { a } from "../util/a.ts";\nexport function b() {\n  return a;\n}\n';
    expect(problemsOf("src/erofs/b.ts", text)).toEqual([]);
  });

  test("measures lines, functions and files", () => {
    const long = `function f() {\n${"  x();\n".repeat(69)}}\n`;
    expect(problemsOf("src/a.ts", long)).toEqual(["1: a function of 71 lines"]);
    expect(problemsOf("src/a.ts", long.replace("  x();\n", ""))).toEqual([]);
    expect(problemsOf("src/a.ts", `${"y".repeat(101)}\n`)).toEqual(["1: 101 columns"]);
    expect(problemsOf("src/a.ts", "z();\n".repeat(401))).toEqual(["400: 401 lines in the file"]);
  });

  test("allows a suite of tests and a long condition to be long", () => {
    const body = "  x();\n".repeat(100);
    expect(problemsOf("test/a.test.ts", `describe("a", () => {\n${body}});\n`)).toEqual([]);
    expect(problemsOf("src/a.ts", `if (a) {\n${body}}\n`)).toEqual([]);
  });

  test("knows methods and arrow functions", () => {
    const body = "    x();\n".repeat(100);
    const inClass = `class A {\n  async b(): Promise<void> {\n${body}  }\n}\n`;
    expect(problemsOf("src/a.ts", inClass)).toEqual(["2: a function of 102 lines"]);
    const arrow = `const a = () => {\n${body}};\n`;
    expect(problemsOf("src/a.ts", arrow)).toEqual(["1: a function of 102 lines"]);
  });

  test("finds unfinished work, trailing blanks and paths of one machine", () => {
    // Put together, because this file is checked as well.
    const [word, path] = ["TO".concat("DO"), "/wo".concat("rk/x")];
    const text = `// ${word}: later\nx(); \nconst p = "${path}";\n`;
    expect(problemsOf("src/a.ts", text)).toEqual([
      "1: unfinished work: finish it or open an issue",
      "2: trailing blanks",
      "3: a path of one machine",
    ]);
  });

  test.each([
    ["src/erofs/a.ts", "bun:ffi", true],
    ["ffi/a.ts", "bun:ffi", false],
    ["src/mount/a.ts", "bun:sqlite", true],
    ["src/store/a.ts", "bun:sqlite", false],
    ["src/http/app.ts", "hono", false],
    ["src/daemon.ts", "hono", true],
    ["src/rpc/server.ts", "@grpc/grpc-js", false],
    ["src/snapshot/a.ts", "@grpc/grpc-js", true],
    ["src/erofs/a.ts", "../store/b.ts", true],
    ["src/erofs/a.ts", "../errors.ts", false],
    ["src/util/a.ts", "../../ffi/b.ts", true],
    ["src/store/a.ts", "../../ffi/b.ts", false],
    ["src/store/a.ts", "../../test/b.ts", true],
  ])("%s importing %s: refused is %p", (file, module, refused) => {
    const problems = problemsOf(file, `import { x } from "${module}";\n`);
    expect(problems.length > 0).toBe(refused);
  });

  test("lets a type of another package pass", () => {
    expect(problemsOf("src/mount/a.ts", 'import type { D } from "bun:sqlite";\n')).toEqual([]);
  });
});

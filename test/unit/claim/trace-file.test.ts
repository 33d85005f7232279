import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { runCommand } from "../../../scripts/lib/process.ts";
import { readTrace } from "../../../src/claim/trace-file.ts";

const [one, two] = ["1".repeat(64), "2".repeat(64)];

function code(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as { readonly code: string }).code;
  }
  return "none";
}

describe("readTrace()", () => {
  let scratch: ScratchFolder;
  let folder: string;

  beforeEach(() => {
    scratch = scratchFolder("unit");
    folder = join(scratch.path, "traces");
    mkdirSync(join(folder, "sub"), { recursive: true });
  });

  afterEach(() => scratch[Symbol.dispose]());

  test("reads each hash once, in order, by any name of a file below the folder", () => {
    writeFileSync(join(folder, "sub", "start"), `${two}\r\n\n  ${one.toUpperCase()}\n${two}`);
    for (const name of ["sub/start", "./sub/../sub/start", join(folder, "sub/start")]) {
      expect(readTrace(folder, name)).toEqual([two, one]);
    }
    symlinkSync("sub/start", join(folder, "inside"));
    expect(readTrace(folder, "inside")).toEqual([two, one]);
  });

  test("reads nothing outside, whatever the way", () => {
    writeFileSync(join(scratch.path, "secret"), one);
    mkdirSync(join(scratch.path, "traces-2"));
    writeFileSync(join(scratch.path, "traces-2", "start"), one);
    symlinkSync("../secret", join(folder, "link"));
    symlinkSync("..", join(folder, "up"));
    const names = ["../secret", "link", "up/secret", "/etc/passwd", "../traces-2/start", ".", ""];
    for (const name of names) {
      expect([name, code(() => readTrace(folder, name))]).toEqual([name, "permission_denied"]);
    }
    // Whether a file is there is not told either.
    expect(code(() => readTrace(folder, "../missing"))).toBe("permission_denied");
  });

  test("reads nothing where no folder is configured", () => {
    expect(code(() => readTrace(null, "sub/start"))).toBe("failed_precondition");
  });

  test("refuses what is no trace, and waits for no pipe", async () => {
    writeFileSync(join(folder, "text"), `${one}\nhello\n`);
    await runCommand(["mkfifo", join(folder, "pipe")]);
    expect(() => readTrace(folder, "text")).toThrow('Line 2 of "text" is no SHA-256');
    expect(code(() => readTrace(folder, "pipe"))).toBe("invalid_argument");
    expect(code(() => readTrace(folder, "sub"))).toBe("invalid_argument");
    expect(code(() => readTrace(folder, "missing"))).toBe("not_found");
  });
});

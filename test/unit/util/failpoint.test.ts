import { describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tryCommand } from "../../../scripts/lib/process.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import type { Failpoint } from "../../../src/util/failpoint.ts";

const script = join(import.meta.dir, "..", "..", "support", "visit-failpoint.ts");
const killed = 128 + 9;
const places: readonly Failpoint[] = ["fill.before-write", "answer.before", "fill.before-write"];

function visit(env: Readonly<Record<string, string>>) {
  return tryCommand([process.execPath, script, ...places], { env });
}

describe("failpoint()", () => {
  test("does nothing where nothing is armed, or something else", async () => {
    const want = { exitCode: 0, stdout: `${places.join("\n")}\n`, stderr: "" };
    expect(await visit({})).toEqual(want);
    expect(await visit({ DEDUP_FAILPOINT: "answer.after" })).toEqual(want);
    expect(await visit({ DEDUP_FAILPOINT: "fill.before-write:3" })).toEqual(want);
  });

  test("kills the process at the count-th visit", async () => {
    const first = await visit({ DEDUP_FAILPOINT: "fill.before-write" });
    expect(first).toMatchObject({ exitCode: killed, stdout: "" });
    const second = await visit({ DEDUP_FAILPOINT: "fill.before-write:2" });
    expect(second).toMatchObject({
      exitCode: killed,
      stdout: "fill.before-write\nanswer.before\n",
    });
  });

  test("does so once where a file arms it", async () => {
    using folder = scratchFolder("unit");
    const file = join(folder.path, "failpoint");
    const env = { DEDUP_FAILPOINT: `@${file}` };
    expect((await visit(env)).exitCode).toBe(0);
    writeFileSync(file, "answer.before\n");
    expect((await visit(env)).exitCode).toBe(killed);
    expect(existsSync(file)).toBe(false);
    expect((await visit(env)).exitCode).toBe(0);
  });
});

describe("hasFault()", () => {
  test("is true of the fault that is asked for", async () => {
    const { stdout } = await visit({ DEDUP_FAULT: "forget-orphans" });
    expect(stdout).toEndWith("\nforget-orphans\n");
  });
});

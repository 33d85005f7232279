import { describe, expect, test } from "bun:test";
import { closeSync, fstatSync, openSync } from "node:fs";
import { close } from "../../../ffi/file.ts";
import { duplicate, duplicateFrom } from "../../../ffi/pidfd.ts";

describe("duplicateFrom()", () => {
  test("gives the open file of another process, which survives it", async () => {
    const file = openSync(import.meta.path, "r");
    const child = Bun.spawn(["sleep", "1000"], { stdio: [file, "ignore", "ignore"] });
    const { ino } = fstatSync(file);
    closeSync(file);
    const own = duplicateFrom(child.pid, 0);
    child.kill("SIGKILL");
    await child.exited;
    expect(fstatSync(own).ino).toBe(ino);
    close(own);
  });

  test("says what is missing: the descriptor, or the process", async () => {
    const child = Bun.spawn(["sleep", "1000"], { stdio: ["ignore", "ignore", "ignore"] });
    expect(() => duplicateFrom(child.pid, 999)).toThrow("EBADF");
    child.kill("SIGKILL");
    await child.exited;
    expect(() => duplicateFrom(child.pid, 0)).toThrow("ESRCH");
  });
});

describe("duplicate()", () => {
  test("gives a second descriptor of the same file", () => {
    const file = openSync(import.meta.path, "r");
    const own = duplicate(file);
    closeSync(file);
    expect(fstatSync(own).isFile()).toBe(true);
    close(own);
  });
});

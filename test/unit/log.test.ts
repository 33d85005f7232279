import { describe, expect, test } from "bun:test";
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../scripts/lib/process.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { LogOutput } from "../../src/log.ts";

describe("LogOutput", () => {
  test("goes on where the disk is full", () => {
    const full = openSync("/dev/full", "w");
    const output = new LogOutput(full);
    output.write("lost\n");
    output.write("lost as well\n");
    closeSync(full);
  });

  test("says how many lines are missing when somebody reads again", async () => {
    using scratch = scratchFolder("log");
    const path = join(scratch.path, "fifo");
    await runCommand(["mkfifo", path]);
    const fifo = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    const output = new LogOutput(fifo);
    const pages = Buffer.alloc(4096, "x");
    expect(() => {
      for (;;) writeSync(fifo, pages);
    }).toThrow("EAGAIN");
    output.write("first lost\n");
    output.write("second lost\n");
    const read = Buffer.alloc(1024 * 1024);
    readSync(fifo, read);
    output.write("written\n");
    const rest = read.toString("latin1", 0, readSync(fifo, read));
    const [, dropped = "", line] = rest.slice(rest.indexOf("\n")).split("\n");
    expect(JSON.parse(dropped)).toMatchObject({ level: 50, dropped: 2 });
    expect(line).toBe("written");
    closeSync(fifo);
  });
});

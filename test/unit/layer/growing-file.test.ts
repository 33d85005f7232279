import { describe, expect, test } from "bun:test";
import { appendFileSync, closeSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { GrowingFile } from "../../../src/layer/growing-file.ts";
import { cancel, makeCancelFlag } from "../../../src/util/cancel-flag.ts";
import { rejection } from "../../support/rejection.ts";

/** A file of four bytes, of which the growing one knows. */
async function grownFile(stallMs?: number) {
  const scratch = scratchFolder("unit");
  const path = join(scratch.path, "data");
  writeFileSync(path, "four");
  const descriptor = openSync(path, "r");
  const isOver = makeCancelFlag();
  const limits = stallMs === undefined ? { isOver } : { isOver, stallMs };
  const file = new GrowingFile(descriptor, limits);
  await file.reach(4);
  return {
    file,
    path,
    isOver,
    [Symbol.dispose]: () => {
      closeSync(descriptor);
      scratch[Symbol.dispose]();
    },
  };
}

function cancelled(problem: string): object {
  return { code: "cancelled", message: `The download ${problem}` };
}

describe("GrowingFile.reach()", () => {
  test("waits until the file is as large", async () => {
    using grown = await grownFile();
    const reached = grown.file.reach(6);
    appendFileSync(grown.path, "5");
    appendFileSync(grown.path, "6");
    await reached;
  });

  test("does not wait for what is there, whatever became of the file", async () => {
    using grown = await grownFile();
    appendFileSync(grown.path, "56");
    rmSync(grown.path);
    cancel(grown.isOver);
    await grown.file.reach(6);
  });

  test("gives up a file that was removed", async () => {
    using grown = await grownFile();
    const reached = rejection(grown.file.reach(6));
    rmSync(grown.path);
    expect(await reached).toMatchObject(cancelled("was given up"));
  });

  test("gives up a file that was cut", async () => {
    using grown = await grownFile();
    const reached = rejection(grown.file.reach(6));
    truncateSync(grown.path, 2);
    expect(await reached).toMatchObject(cancelled("begins anew"));
  });

  test("gives up when it is told that the file grows no more", async () => {
    using grown = await grownFile();
    const reached = rejection(grown.file.reach(6));
    cancel(grown.isOver);
    expect(await reached).toMatchObject(cancelled("is not waited for any more"));
  });

  test("gives up a file that stands still", async () => {
    using grown = await grownFile(0);
    expect(await rejection(grown.file.reach(6))).toMatchObject(cancelled("stands still"));
  });
});

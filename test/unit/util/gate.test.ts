import { describe, expect, test } from "bun:test";
import { Gate } from "../../../src/util/gate.ts";
import { rejection } from "../../support/rejection.ts";

describe("Gate", () => {
  test("lets so many tasks run at a time, the others in the order they came", async () => {
    const gate = new Gate(2);
    const started: number[] = [];
    let running = 0;
    let runningMax = 0;
    const tasks = [1, 2, 3, 4, 5].map((task) =>
      gate.run(async () => {
        started.push(task);
        running += 1;
        runningMax = Math.max(runningMax, running);
        await Promise.resolve();
        running -= 1;
        return task;
      }),
    );
    expect(await Promise.all(tasks)).toEqual([1, 2, 3, 4, 5]);
    expect([started, runningMax]).toEqual([[1, 2, 3, 4, 5], 2]);
  });

  test("a task that fails makes room as well", async () => {
    const gate = new Gate(1);
    const failing = gate.run(() => Promise.reject(new Error("failed")));
    const next = gate.run(() => Promise.resolve("next"));
    expect(String(await rejection(failing))).toContain("failed");
    expect(await next).toBe("next");
  });
});

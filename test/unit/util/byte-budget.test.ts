import { describe, expect, test } from "bun:test";
import { ByteBudget } from "../../../src/util/byte-budget.ts";

describe("ByteBudget", () => {
  test("gives what there is, the rest in the order it was asked for", async () => {
    const budget = new ByteBudget(10);
    const first = await budget.take(6);
    const started: number[] = [];
    const takes = [5, 4].map(async (bytes) => {
      const taken = await budget.take(bytes);
      started.push(bytes);
      return taken;
    });
    // There would be room, but others wait.
    expect(budget.tryTake(1)).toBeUndefined();
    expect(budget.takenBytes).toBe(6);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    for (const taken of await Promise.all(takes)) taken[Symbol.dispose]();
    expect(started).toEqual([5, 4]);
    expect(budget.takenBytes).toBe(0);
  });

  test("gives all of it to who wants more, and at once only what is free", async () => {
    const budget = new ByteBudget(10);
    using all = await budget.take(1000);
    expect(budget.takenBytes).toBe(10);
    expect(budget.tryTake(1)).toBeUndefined();
    all[Symbol.dispose]();
    expect(budget.tryTake(11)).toBeUndefined();
    expect(budget.tryTake(10)).toBeDefined();
  });
});

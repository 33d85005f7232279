import { describe, expect, test } from "bun:test";
import { settled } from "../../../src/util/settled.ts";

describe("settled", () => {
  test("resolves with all results, in order", async () => {
    expect(await settled([Promise.resolve(1), "two", Promise.resolve(undefined)])).toEqual([
      1,
      "two",
      undefined,
    ]);
  });

  test("rejects only when nothing is under way any more", async () => {
    const slow = Promise.withResolvers<string>();
    let isSettled = false;
    const result = settled([Promise.reject(new Error("first")), slow.promise]).finally(() => {
      isSettled = true;
    });
    const failure = result.then(String, String);
    await Promise.resolve();
    expect(isSettled).toBe(false);
    slow.resolve("done");
    expect(await failure).toBe("Error: first");
  });
});

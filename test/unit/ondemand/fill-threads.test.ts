import { expect, test } from "bun:test";
import { threadsOn } from "../../../src/ondemand/fill/fill-threads.ts";

test("threadsOn(): one thread is free for demand on any machine", () => {
  expect([1, 2, 3, 4, 64].map(threadsOn)).toEqual([2, 2, 2, 3, 4]);
});

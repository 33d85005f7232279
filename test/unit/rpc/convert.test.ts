import { describe, expect, test } from "bun:test";
import { timestampMessage } from "../../../src/rpc/convert.ts";

describe("timestampMessage()", () => {
  test.each([
    [1_700_000_000_123_456_789n, 1_700_000_000n, 123_456_789],
    [0n, 0n, 0],
    [-1n, -1n, 999_999_999],
    [-1_000_000_000n, -1n, 0],
    [9_223_372_036_854_775_807n, 9_223_372_036n, 854_775_807],
  ])("splits %p nanoseconds exactly", (timeNs, seconds, nanos) => {
    expect(timestampMessage(timeNs)).toEqual({ seconds, nanos });
  });
});

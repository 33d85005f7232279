import { describe, expect, test } from "bun:test";
import { freeBytes } from "../../../src/util/free-bytes.ts";

describe("freeBytes()", () => {
  test("empties what has a buffer of its own", () => {
    const bytes = new Uint8Array(100_000);
    freeBytes(bytes);
    expect([bytes.length, bytes.buffer.byteLength]).toEqual([0, 0]);
  });

  test("leaves parts of something larger, and what threads share", () => {
    const whole = new Uint8Array(100_000).fill(1);
    const part = whole.subarray(1000);
    const shared = new Uint8Array(new SharedArrayBuffer(8)).fill(1);
    freeBytes(part);
    freeBytes(shared);
    expect([whole.at(-1), part.length, shared.at(-1)]).toEqual([1, 99_000, 1]);
  });
});

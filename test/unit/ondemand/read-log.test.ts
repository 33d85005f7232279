import { describe, expect, test } from "bun:test";
import { ReadLog } from "../../../src/ondemand/read-log.ts";

function openLog(): { readonly thread: ReadLog; readonly main: ReadLog } {
  const shared = new SharedArrayBuffer(64 + ReadLog.sizeBytes);
  return { thread: new ReadLog(shared, 64), main: new ReadLog(shared, 64) };
}

describe("ReadLog", () => {
  test("gives what was noted, once, in order", () => {
    const { thread, main } = openLog();
    expect([...main.take()]).toEqual([]);
    for (const piece of [7, 0, 2 ** 30]) thread.note(512, piece);
    thread.note(513, 7);
    const reads = [...main.take()].map(({ packId, piece }) => [packId, piece]);
    expect(reads).toEqual([
      [512, 7],
      [512, 0],
      [512, 2 ** 30],
      [513, 7],
    ]);
    expect([...main.take()]).toEqual([]);
  });

  test("loses what is too much, and goes on when it was emptied, around and around", () => {
    const { thread, main } = openLog();
    for (let round = 0; round < 3; round++) {
      for (let piece = 0; piece < 100_000; piece++) thread.note(512, piece);
      const pieces = [...main.take()].map(({ piece }) => piece);
      expect(pieces.length).toBeGreaterThan(60_000);
      expect(pieces.every((piece, index) => piece === index)).toBe(true);
    }
  });
});

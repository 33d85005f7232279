import { describe, expect, test } from "bun:test";
import { type FileEnd, ReadAhead, type Window } from "../../../src/ondemand/fanotify/read-ahead.ts";
import { KiB, MiB } from "../../../src/util/bytes.ts";

const stepBytes = 128 * KiB;
/** One file without an end. */
const endless = (): number => Infinity;

/** Reads in order from a place. */
function readInOrder(
  readAhead: ReadAhead,
  startBytes: number,
  lengthBytes: number,
  fileEnd: FileEnd = endless,
): Window[] {
  const windows: Window[] = [];
  for (let at = startBytes; at < startBytes + lengthBytes; at += stepBytes) {
    const window = readAhead.observe(at, stepBytes, fileEnd);
    if (window !== undefined) windows.push(window);
  }
  return windows;
}

describe("ReadAhead", () => {
  test("asks for nothing until half a MiB was read in order", () => {
    const readAhead = new ReadAhead();
    expect(readInOrder(readAhead, 0, 384 * KiB)).toEqual([]);
    expect(readInOrder(readAhead, 384 * KiB, stepBytes)).toEqual([
      { offsetBytes: 512 * KiB, lengthBytes: 512 * KiB },
    ]);
  });

  test("asks for each byte once, in order, never for more than was read so far", () => {
    const windows = readInOrder(new ReadAhead(), 0, 64 * MiB);
    let endBytes = 512 * KiB;
    for (const { offsetBytes, lengthBytes } of windows) {
      expect(offsetBytes).toBe(endBytes);
      endBytes += lengthBytes;
      expect(endBytes).toBeLessThanOrEqual(2 * offsetBytes);
    }
    expect(endBytes).toBeGreaterThan(64 * MiB);
    expect(endBytes).toBeLessThanOrEqual(64 * MiB + 16 * MiB);
  });

  test("asks for nothing behind the end of the file that is read", () => {
    const fileBytes = 3 * MiB;
    const fileEnd: FileEnd = (at) => (Math.floor(at / fileBytes) + 1) * fileBytes;
    const readAhead = new ReadAhead();
    const windows = readInOrder(readAhead, 0, fileBytes, fileEnd);
    expect(windows.map(({ offsetBytes, lengthBytes }) => offsetBytes + lengthBytes).at(-1)).toBe(
      fileBytes,
    );
    // Who goes on with the next file is helped with that one.
    const next = readInOrder(readAhead, fileBytes, stepBytes, fileEnd);
    expect(next).toEqual([
      { offsetBytes: fileBytes + stepBytes, lengthBytes: fileBytes - stepBytes },
    ]);
  });

  test("asks for nothing for reads here and there", () => {
    const readAhead = new ReadAhead();
    for (let turn = 0; turn < 100; turn++)
      expect(readAhead.observe(((turn * 37) % 100) * MiB, 64 * KiB, endless)).toBeUndefined();
  });

  test("goes on over a small gap, not over a large one", () => {
    const readAhead = new ReadAhead();
    readInOrder(readAhead, 0, 384 * KiB);
    expect(readAhead.observe(400 * KiB, stepBytes, endless)).toBeDefined();
    expect(readAhead.observe(2 * MiB, stepBytes, endless)).toBeUndefined();
  });

  test("tells eight readers apart", () => {
    const readAhead = new ReadAhead();
    const windows = Array.from({ length: 8 }, () => 0);
    for (let at = 0; at < MiB; at += stepBytes) {
      for (let reader = 0; reader < 8; reader++) {
        const window = readAhead.observe(reader * 100 * MiB + at, stepBytes, endless);
        if (window !== undefined) windows[reader]! += window.lengthBytes;
      }
    }
    for (const bytes of windows) expect(bytes).toBeGreaterThanOrEqual(512 * KiB);
  });
});

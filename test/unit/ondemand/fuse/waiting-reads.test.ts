import { beforeEach, describe, expect, jest, test } from "bun:test";
import { AppError } from "../../../../src/errors.ts";
import { createLogger } from "../../../../src/log.ts";
import type { ReadRequest } from "../../../../src/ondemand/contract.ts";
import type { PackRow } from "../../../../src/ondemand/fuse/pack-table.ts";
import { opcode } from "../../../../src/ondemand/fuse/protocol.ts";
import type { PassedQuestion, PassedRead } from "../../../../src/ondemand/fuse/server.ts";
import { WaitingReads } from "../../../../src/ondemand/fuse/waiting-reads.ts";

const nowhere = { address: 0, lengthBytes: 0 };
const row: PackRow = {
  packId: 512,
  epoch: 1,
  isComplete: false,
  file: 3,
  generation: 0,
  sizeBytes: 1000,
  pieces: nowhere,
  have: nowhere,
};

const [enoent, eio, eintr, eagain] = [2, 5, 4, 11];
/** A process that is gone has a number that no process can have. */
const gonePid = 2 ** 30;

let isExposed: boolean;
let isExpected: boolean;
/** Of content, by the kernel. */
let refusal: Error | undefined;
let answers: unknown[];
let demands: (PromiseWithResolvers<void> & ReadRequest)[];
let reads: WaitingReads;

beforeEach(() => {
  isExposed = true;
  isExpected = false;
  refusal = undefined;
  answers = [];
  demands = [];
  reads = new WaitingReads({
    replies: {
      fail: (unique, errno) => answers.push([unique, errno]) > 0,
      send: (unique) => answers.push([unique]) > 0,
      sendContent: (unique, _file, offset, length) => {
        if (refusal !== undefined) throw refusal;
        return answers.push([unique, offset, length]) > 0;
      },
    },
    packs: {
      has: () => isExposed,
      isExpected: () => isExpected,
      enter: () => (isExposed ? row : undefined),
      leave: () => undefined,
    },
    demand: (request) => {
      const demand = { ...Promise.withResolvers<void>(), ...request };
      demands.push(demand);
      return demand.promise;
    },
    log: createLogger("silent"),
  });
});

function readOf(unique: bigint, options: Partial<PassedRead> = {}): PassedRead {
  const place = { packId: 512, offsetBytes: 100, lengthBytes: 50, pid: process.pid };
  return { kind: "read", unique, ...place, ...options };
}

function questionOf(unique: bigint, pid = process.pid): PassedQuestion {
  return { kind: "question", opcode: opcode.lookup, unique, packId: 512, pid };
}

const interruptOf = (interrupted: bigint) =>
  ({ kind: "interrupt", unique: interrupted | 1n, interrupted }) as const;

describe("WaitingReads", () => {
  test("answers with content when it is there", async () => {
    const reading = reads.read(readOf(2n));
    expect(answers).toEqual([]);
    demands[0]!.resolve();
    await reading;
    expect(answers).toEqual([[2n, 100, 50]]);
  });

  test("asks for nothing behind the end of the pack", async () => {
    const reading = reads.read(readOf(2n, { offsetBytes: 990 }));
    expect(demands[0]).toMatchObject({ packId: 512, offsetBytes: 990, lengthBytes: 10 });
    demands[0]!.resolve();
    await reading;
    expect(answers).toEqual([[2n, 990, 10]]);
  });

  test("answers with an error what cannot be had", async () => {
    const reading = reads.read(readOf(2n));
    demands[0]!.reject(new AppError("unavailable", "no registry"));
    await reading;
    expect(answers).toEqual([[2n, eio]]);
  });

  test("lets who is being killed go, and answers no second time", async () => {
    const reading = reads.read(readOf(2n, { pid: gonePid }));
    reads.interrupt(interruptOf(2n));
    expect(answers).toEqual([[2n, eintr]]);
    demands[0]!.resolve();
    await reading;
    expect(answers).toHaveLength(1);
    expect(reads.count).toBe(0);
  });

  test("keeps on waiting for who has a signal that does not kill", async () => {
    const reading = reads.read(readOf(2n));
    reads.interrupt(interruptOf(2n));
    expect(answers).toEqual([]);
    demands[0]!.resolve();
    await reading;
    expect(answers).toEqual([[2n, 100, 50]]);
  });

  test("lets who is killed after such a signal go", async () => {
    const child = Bun.spawn(["sleep", "60"]);
    void reads.read(readOf(2n, { pid: child.pid }));
    reads.interrupt(interruptOf(2n));
    expect(answers).toEqual([]);
    child.kill("SIGKILL");
    while (answers.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(answers).toEqual([[2n, eintr]]);
  });

  test("has the kernel ask again to interrupt what has not arrived", () => {
    reads.interrupt(interruptOf(2n));
    expect(answers).toEqual([[3n, eagain]]);
  });

  test("waits until a pack is exposed", async () => {
    isExposed = false;
    const reading = reads.read(readOf(2n));
    expect(demands).toEqual([]);
    isExposed = true;
    reads.exposed(512);
    while (demands.length === 0) await Promise.resolve();
    demands[0]!.resolve();
    await reading;
    expect(answers).toEqual([[2n, 100, 50]]);
  });

  test("gives each read its own time until the pack is exposed", async () => {
    jest.useFakeTimers();
    try {
      isExposed = false;
      const first = reads.read(readOf(2n));
      jest.advanceTimersByTime(29_000);
      const second = reads.read(readOf(4n));
      jest.advanceTimersByTime(2_000);
      await first;
      expect(answers).toEqual([[2n, eio]]);
      isExposed = true;
      reads.exposed(512);
      while (demands.length === 0) await Promise.resolve();
      demands[0]!.resolve();
      await second;
      expect(answers).toEqual([
        [2n, eio],
        [4n, 100, 50],
      ]);
    } finally {
      jest.useRealTimers();
    }
  });

  test("answers with an error where the kernel does not take the content", async () => {
    refusal = new Error("EINVAL");
    const reading = reads.read(readOf(2n));
    demands[0]!.resolve();
    await reading;
    expect(answers).toEqual([[2n, eio]]);
  });

  test("answers with an error who reads of a pack that is withdrawn, once", async () => {
    const reading = reads.read(readOf(2n));
    isExposed = false;
    reads.withdrawn(512);
    demands[0]!.resolve();
    await reading;
    expect(answers).toEqual([[2n, eio]]);
  });

  test("leaves all to the next process when it is told to", async () => {
    const reading = reads.read(readOf(2n));
    reads.abandon();
    demands[0]!.resolve();
    await reading;
    expect(answers).toEqual([]);
  });

  describe("asked about a pack", () => {
    beforeEach(() => {
      [isExposed, isExpected] = [false, true];
    });

    test("that is to be exposed again, answers when it is", async () => {
      const asking = reads.question(questionOf(2n));
      expect(answers).toEqual([]);
      [isExposed, isExpected] = [true, false];
      reads.exposed(512);
      await asking;
      expect(answers).toEqual([[2n]]);
    });

    test("that nobody exposes any more, knows no such file", async () => {
      void reads.question(questionOf(2n));
      isExpected = false;
      reads.withdrawn(512);
      await reads.question(questionOf(4n));
      expect(answers).toEqual([
        [2n, enoent],
        [4n, enoent],
      ]);
    });

    test("by somebody who is being killed, does not keep them waiting", () => {
      void reads.question(questionOf(2n, gonePid));
      reads.interrupt(interruptOf(2n));
      expect(answers).toEqual([[2n, eintr]]);
    });
  });
});

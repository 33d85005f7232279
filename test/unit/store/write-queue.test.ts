import { describe, expect, test } from "bun:test";
import { blockBytes } from "../../../src/store/layout.ts";
import { type PendingWrite, WriteQueue } from "../../../src/store/write-queue.ts";
import { rejection } from "../../support/rejection.ts";

class Fixture {
  readonly written: number[] = [];
  readonly settled: number[] = [];
  /** Resolves when something is being written. */
  readonly started = Promise.withResolvers<void>();
  /** What the writer waits for. */
  gate: Promise<void> = Promise.resolve();
  readonly queue: WriteQueue;
  #next = 0;

  constructor() {
    const write = async (block: number) => {
      this.started.resolve();
      await this.gate;
      this.written.push(block);
    };
    const reserve = async (count: number) => {
      this.#next += count;
      return this.#next - count;
    };
    this.queue = new WriteQueue({ write }, reserve);
  }

  /** A batch of one piece of so many blocks. */
  batchOf(blocks: number): Promise<PendingWrite>[] {
    const pieces = [new Uint8Array(blocks * blockBytes)];
    const settle = (block: number) => void this.settled.push(block);
    return [Promise.resolve({ pieces, ownsPieces: false, settle })];
  }
}

describe("WriteQueue", () => {
  test("writes batches in the order they came, whatever is ready first", async () => {
    const fixture = new Fixture();
    const { promise, resolve } = Promise.withResolvers<PendingWrite>();
    void fixture.queue.add([promise]);
    void fixture.queue.add(fixture.batchOf(2));
    const [first] = fixture.batchOf(3);
    resolve(await first!);
    await fixture.queue.drain();
    expect(fixture.written).toEqual([0, 3]);
    expect(fixture.settled).toEqual([0, 3]);
  });

  test("frees the pieces that nobody else has, once they are written", async () => {
    const fixture = new Fixture();
    const [owned, shared] = [new Uint8Array(2 * blockBytes), new Uint8Array(2 * blockBytes)];
    const part = shared.subarray(blockBytes);
    const settle = (block: number) => void fixture.settled.push(block);
    void fixture.queue.add([Promise.resolve({ pieces: [owned, part], ownsPieces: true, settle })]);
    void fixture.queue.add(fixture.batchOf(1));
    await fixture.queue.drain();
    expect([owned.length, part.length]).toEqual([0, blockBytes]);
    expect(fixture.settled).toEqual([0, 3]);
  });

  test("is closed only when nothing is being written, also where a batch has failed", async () => {
    const fixture = new Fixture();
    const { promise, resolve } = Promise.withResolvers<void>();
    fixture.gate = promise;
    void fixture.queue.add(fixture.batchOf(1));
    void fixture.queue.add([Promise.reject(new Error("cannot compress"))]);
    await fixture.started.promise;
    const order: string[] = [];
    const closed = fixture.queue.close().then(() => order.push("closed"));
    setImmediate(resolve);
    await promise.then(() => order.push("written"));
    await closed;
    expect(order).toEqual(["written", "closed"]);
    expect(fixture.written).toEqual([0]);
  });

  test("writes nothing behind a batch that failed, and says why", async () => {
    const fixture = new Fixture();
    await fixture.queue.add([Promise.reject(new Error("cannot compress"))]);
    await fixture.queue.add(fixture.batchOf(1));
    expect(await rejection(fixture.queue.drain())).toMatchObject({ message: "cannot compress" });
    expect(fixture.written).toEqual([]);
  });
});

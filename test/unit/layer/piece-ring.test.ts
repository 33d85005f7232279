import { describe, expect, test } from "bun:test";
import { PieceFiller, PieceTaker, type SharedBytes } from "../../../src/layer/piece-ring.ts";
import { AppError } from "../../../src/errors.ts";
import { rejection } from "../../support/rejection.ts";

const bufferBytes = 8;

function makeBuffers(count: number): SharedBytes[] {
  return Array.from({ length: count }, () => new Uint8Array(new SharedArrayBuffer(bufferBytes)));
}

/** Reads pieces as they are; fails behind them, if it is to. */
function reading(pieces: readonly string[], failure?: AppError) {
  const left = [...pieces];
  return async (target: Uint8Array): Promise<number> => {
    const piece = left.shift();
    if (piece !== undefined) return Buffer.from(piece).copy(target);
    if (failure !== undefined) throw failure;
    return 0;
  };
}

/** Carries all through a ring, as two threads do it. */
async function carry(
  buffersCount: number,
  read: (target: Uint8Array) => Promise<number>,
): Promise<string> {
  const buffers = makeBuffers(buffersCount);
  const taker = new PieceTaker(buffers);
  const filler = new PieceFiller(buffers, (filled) => taker.put(filled));
  filler.fill(read).then(
    () => taker.end(),
    (reason: unknown) => taker.end({ reason }),
  );
  let text = "";
  for await (const piece of taker.pieces()) {
    // Whoever fills goes on meanwhile, and must not write to this one.
    await Bun.sleep(1);
    text += Buffer.from(piece).toString();
  }
  return text;
}

describe("a ring of pieces", () => {
  test.each([1, 2, 20])("carries pieces in order in %p buffers", async (count) => {
    const pieces = Array.from({ length: 10 }, (_, index) => `${index}`.repeat((index % 8) + 1));
    expect(await carry(count, reading(pieces))).toBe(pieces.join(""));
  });

  test("has nothing of an empty stream", async () => {
    expect(await carry(1, reading([]))).toBe("");
  });

  test("gives what came before a failure, then the failure", async () => {
    const taker = new PieceTaker(makeBuffers(2));
    void taker.put({ index: 1, lengthBytes: 8 });
    taker.end({ reason: new AppError("data_loss", "broken") });
    const pieces = taker.pieces()[Symbol.asyncIterator]();
    expect((await pieces.next()).value).toEqual(new Uint8Array(bufferBytes));
    expect(await rejection(pieces.next())).toMatchObject({ code: "data_loss" });
    const failure = new AppError("data_loss", "broken");
    expect(await rejection(carry(1, reading(["a", "b"], failure)))).toBe(failure);
  });

  test("gives a buffer back when the next piece is asked for, not before", async () => {
    const taker = new PieceTaker(makeBuffers(2));
    let isFree = false;
    void taker.put({ index: 0, lengthBytes: 1 }).then(() => (isFree = true));
    const pieces = taker.pieces()[Symbol.asyncIterator]();
    await pieces.next();
    await Bun.sleep(1);
    expect(isFree).toBe(false);
    void pieces.next();
    await Bun.sleep(1);
    expect(isFree).toBe(true);
  });

  test("does not read on when it is stopped, also when no buffer is free", async () => {
    let reads = 0;
    const filler = new PieceFiller(makeBuffers(2), () => new Promise(() => undefined));
    const filled = filler.fill(async () => (reads += 1));
    await Bun.sleep(1);
    expect(reads).toBe(2);
    await filler.stop();
    await filled;
    expect(reads).toBe(2);
  });

  test("may be stopped before, and after a failure", async () => {
    const filler = new PieceFiller(makeBuffers(1), () => Promise.resolve());
    await filler.stop();
    const broken = new PieceFiller(makeBuffers(1), () => Promise.resolve());
    const failure = new AppError("data_loss", "broken");
    expect(await rejection(broken.fill(reading([], failure)))).toBe(failure);
    await broken.stop();
  });
});

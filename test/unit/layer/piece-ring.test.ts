import { describe, expect, test } from "bun:test";
import { PieceFiller, type SharedBytes } from "../../../src/layer/piece-ring.ts";
import { AppError } from "../../../src/errors.ts";
import { rejection } from "../../support/rejection.ts";

const bufferBytes = 8;

function makeBuffers(count: number): SharedBytes[] {
  return Array.from({ length: count }, () => new Uint8Array(new SharedArrayBuffer(bufferBytes)));
}

async function* piecesOf(...texts: string[]): AsyncGenerator<Uint8Array, void> {
  for (const text of texts) yield Buffer.from(text);
}

async function* failing(): AsyncGenerator<Uint8Array, void> {
  yield Buffer.from("12345678");
  throw new AppError("data_loss", "broken");
}

async function readAll(filler: PieceFiller, buffers: readonly SharedBytes[]): Promise<string> {
  let text = "";
  for (let filled = await filler.take(); filled !== undefined; filled = await filler.take()) {
    text += Buffer.from(buffers[filled.index]!.subarray(0, filled.lengthBytes)).toString();
    filler.giveBack(filled.index);
  }
  return text;
}

describe("PieceFiller", () => {
  test("carries pieces of all sizes in order, in fewer buffers than they need", async () => {
    const buffers = makeBuffers(2);
    const filler = new PieceFiller(piecesOf("a", "", "bcd", "x".repeat(100), "end"), buffers);
    expect(await readAll(filler, buffers)).toBe(`abcd${"x".repeat(100)}end`);
  });

  test("has nothing of an empty stream", async () => {
    const filler = new PieceFiller(piecesOf(), makeBuffers(1));
    expect(await filler.take()).toBeUndefined();
  });

  test("gives what came before a failure, then the failure", async () => {
    const filler = new PieceFiller(failing(), makeBuffers(2));
    expect(await filler.take()).toEqual({ index: 0, lengthBytes: 8 });
    expect(await rejection(filler.take())).toMatchObject({ code: "data_loss" });
  });

  test("serves those who ask ahead in the order they came, and all at the end", async () => {
    const filler = new PieceFiller(failing(), makeBuffers(2));
    const asked = [filler.take(), filler.take(), filler.take()];
    expect(await asked[0]).toEqual({ index: 0, lengthBytes: 8 });
    expect(await rejection(asked[1]!)).toMatchObject({ code: "data_loss" });
    expect(await rejection(asked[2]!)).toMatchObject({ code: "data_loss" });
  });

  test("does not read on when it is stopped, also when no buffer is free", async () => {
    let isPastTheEnd = false;
    async function* endless(): AsyncGenerator<Uint8Array, void> {
      yield Buffer.alloc(3 * bufferBytes);
      isPastTheEnd = true;
      yield Buffer.alloc(1);
    }
    const filler = new PieceFiller(endless(), makeBuffers(1));
    await filler.take();
    await filler.stop();
    expect(isPastTheEnd).toBe(false);
  });
});

import { describe, expect, test } from "bun:test";
import { Body } from "../../../src/registry/body.ts";
import { defaultLimits } from "../../../src/registry/limits.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { rejection } from "../../support/rejection.ts";

const subject = { host: "registry.test", reference: "registry.test/app:1" };

/** A body of `count` pieces, each of which takes `delayMs` to come. */
function slowBody(pieceBytes: number, delayMs: number, count = 100) {
  const clock = new FakeClock();
  const abort = new AbortController();
  let ended = 0;
  let sent = 0;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        clock.advance(delayMs);
        // The body of a fetch fails with what the fetch was aborted with.
        if (abort.signal.aborted) controller.error(abort.signal.reason);
        else if (sent++ < count) controller.enqueue(new Uint8Array(pieceBytes));
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  const onEnd = () => ended++;
  const body = new Body(stream, { subject, clock, limits: defaultLimits, abort, onEnd });
  return { body, clock, abort, ended: () => ended };
}

describe("Body", () => {
  test("reads what comes fast enough", async () => {
    const { body, abort, ended } = slowBody(10_000, 1000, 60);
    expect((await body.bytes(600_000)).length).toBe(600_000);
    expect(ended()).toBe(1);
    expect(abort.signal.aborted).toBe(false);
  });

  test("cuts off what stops", async () => {
    const { body, ended } = slowBody(1_000_000, defaultLimits.idleTimeoutMs);
    expect(await rejection(body.bytes(1e9))).toMatchObject({
      code: "unavailable",
      problem: "sent nothing for 15000 ms",
    });
    expect(ended()).toBe(1);
  });

  test("cuts off what drips", async () => {
    const { body, abort } = slowBody(1, 1000);
    expect(await rejection(body.bytes(1e9))).toMatchObject({
      code: "unavailable",
      problem: "sent 30 bytes in 30000 ms",
    });
    expect(abort.signal.aborted).toBe(true);
  });

  test("leaves a slow reader its time", async () => {
    const { body, clock } = slowBody(10, 0, 10);
    let read = 0;
    for await (const piece of body.pieces()) {
      clock.advance(1_000_000);
      read += piece.length;
    }
    expect(read).toBe(100);
  });

  test("refuses more than it may read, and closes the connection", async () => {
    const { body, abort, ended } = slowBody(10, 0);
    expect(await rejection(body.bytes(95))).toMatchObject({ code: "failed_precondition" });
    expect([abort.signal.aborted, ended()]).toEqual([true, 1]);
  });

  test("discards a small rest, and closes the connection of a large one", async () => {
    const small = slowBody(10, 0);
    await small.body.discard();
    const large = slowBody(1_000_000, 0);
    await large.body.discard();
    expect([small.abort.signal.aborted, large.abort.signal.aborted]).toEqual([false, true]);
  });
});

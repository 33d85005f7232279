import { describe, expect, test } from "bun:test";
import { Slots } from "../../../src/registry/slots.ts";
import { rejection } from "../../support/rejection.ts";

describe("Slots", () => {
  test("lets so many in, and the others in their order", async () => {
    const slots = new Slots(2);
    const order: number[] = [];
    const [first, second] = [await slots.take("a"), await slots.take("a")];
    const waiting = [3, 4].map(async (number) => {
      const release = await slots.take("a");
      order.push(number);
      return release;
    });
    await slots.take("b");
    expect(order).toEqual([]);
    first();
    // A second call must not let another one in.
    first();
    (await waiting[0])?.();
    await waiting[1];
    expect(order).toEqual([3, 4]);
    second();
  });

  test("forgets who gave up waiting", async () => {
    const slots = new Slots(1);
    const release = await slots.take("a");
    const abort = new AbortController();
    const waiting = slots.take("a", abort.signal);
    const next = slots.take("a");
    const reason = new Error("gave up");
    abort.abort(reason);
    expect(await rejection(waiting)).toBe(reason);
    release();
    (await next)();
    expect(await rejection(slots.take("a", abort.signal))).toBe(reason);
  });
});

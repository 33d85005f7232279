import { describe, expect, test } from "bun:test";
import { Pacer } from "../../../src/layer/pacer.ts";
import { rejection } from "../../support/rejection.ts";

describe("Pacer", () => {
  test("lets what takes longer than it may go on only when that time is over", async () => {
    const pacer = new Pacer({ bytesPerSecond: 100_000, isBusy: () => false });
    const startMs = performance.now();
    await pacer.pace(1_000);
    await pacer.pace(1_000);
    expect(performance.now() - startMs).toBeGreaterThan(19);
  });

  test("waits until nothing is to be left in peace any more", async () => {
    let asked = 0;
    const isBusy = () => {
      asked += 1;
      return asked < 2;
    };
    await new Pacer({ bytesPerSecond: 1e12, isBusy }).pace(1);
    expect(asked).toBe(2);
  });

  test("ends what waits when it is cancelled, and all that comes until it is reset", async () => {
    const pacer = new Pacer({ bytesPerSecond: 1, isBusy: () => true });
    const waiting = rejection(pacer.pace(1e6));
    pacer.cancel();
    expect(await waiting).toMatchObject({ code: "cancelled" });
    expect(await rejection(pacer.pace(0))).toMatchObject({ code: "cancelled" });
    pacer.reset();
    const again = rejection(pacer.pace(0));
    pacer.cancel();
    expect(await again).toMatchObject({ code: "cancelled" });
  });
});

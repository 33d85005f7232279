import { describe, expect, test } from "bun:test";
import { GroupSync } from "../../../src/util/group-sync.ts";
import { rejection } from "../../support/rejection.ts";

describe("GroupSync", () => {
  test("shares a sync among those who ask before it starts, and only among them", async () => {
    const gates: PromiseWithResolvers<void>[] = [];
    const group = new GroupSync(() => {
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      return gate.promise;
    });
    const early = [group.run(), group.run()];
    await Promise.resolve();
    await Promise.resolve();
    expect(gates).toHaveLength(1);
    // Written while the first sync was under way: it may not be in it.
    const late = [group.run(), group.run()];
    gates[0]?.resolve();
    await Promise.all(early);
    await Promise.resolve();
    await Promise.resolve();
    expect(gates).toHaveLength(2);
    gates[1]?.resolve();
    await Promise.all(late);
    expect(gates).toHaveLength(2);
  });

  // A second fsync after a failed one succeeds without having written the lost pages.
  test("fails for good after the first failure", async () => {
    let calls = 0;
    const group = new GroupSync(() => {
      calls += 1;
      return calls === 1 ? Promise.reject(new Error("EIO")) : Promise.resolve();
    });
    expect(await rejection(group.run())).toEqual(new Error("EIO"));
    expect(await rejection(group.run())).toEqual(new Error("EIO"));
    expect(calls).toBe(1);
    expect(group.failure).toEqual({ reason: new Error("EIO") });
  });
});

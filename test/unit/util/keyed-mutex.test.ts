import { describe, expect, test } from "bun:test";
import { KeyedMutex } from "../../../src/util/keyed-mutex.ts";
import { rejection } from "../../support/rejection.ts";

describe("KeyedMutex", () => {
  test("runs tasks of one key in order and of others at once", async () => {
    const mutex = new KeyedMutex();
    const events: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = mutex.run(["a", "b"], async () => {
      await gate.promise;
      events.push("a b");
    });
    const second = mutex.run(["b", "c"], () => void events.push("b c"));
    const third = mutex.run(["c"], () => void events.push("c"));
    await mutex.run(["d"], () => void events.push("d"));
    expect(events).toEqual(["d"]);
    gate.resolve();
    await Promise.all([first, second, third]);
    expect(events).toEqual(["d", "a b", "b c", "c"]);
  });

  test("takes the same key twice, passes failures on and forgets free keys", async () => {
    const mutex = new KeyedMutex();
    const failing = mutex.run(["a", "a"], () => Promise.reject(new Error("broken")));
    expect(await rejection(failing)).toEqual(
      expect.objectContaining({ message: expect.stringContaining("broken") }),
    );
    expect(await mutex.run(["a"], () => "fine")).toBe("fine");
    await mutex.run([], () => undefined);
    expect(mutex.size).toBe(0);
  });
});

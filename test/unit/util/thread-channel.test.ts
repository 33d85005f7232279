import { describe, expect, test } from "bun:test";
import { AppError } from "../../../src/errors.ts";
import { ThreadChannel, type Handlers } from "../../../src/util/thread-channel.ts";

/** Two ends that pass each other structured clones, as threads do. */
function pair(left: Handlers, right: Handlers): [ThreadChannel, ThreadChannel] {
  const ends: ThreadChannel[] = [];
  const post = (index: number) => (message: unknown) => {
    const clone: unknown = structuredClone(message);
    queueMicrotask(() => ends[index]?.receive(clone));
  };
  const first = new ThreadChannel(post(1), left);
  const second = new ThreadChannel(post(0), right);
  ends.push(first, second);
  return [first, second];
}

describe("ThreadChannel", () => {
  test("calls handlers in both directions at the same time", async () => {
    const [left, right] = pair(
      { twice: (value: number) => value * 2 },
      { thrice: async (value: number) => (await right.call<number>("twice", value)) + value },
    );
    const results = await Promise.all([1, 2, 3].map((one) => left.call<number>("thrice", one)));
    expect(results).toEqual([3, 6, 9]);
  });

  test("keeps the class, message and remedy of an error, and its cause as text", async () => {
    const [left] = pair(
      {},
      {
        fail: () => {
          throw new AppError("not_found", "no layer", { remedy: "pull it", cause: Error("gone") });
        },
      },
    );
    expect(left.call("fail")).rejects.toMatchObject({
      name: "AppError",
      code: "not_found",
      message: "no layer: gone",
      remedy: "pull it",
    });
  });

  test("answers a call of an unknown name with an error", async () => {
    const [left] = pair({}, {});
    expect(left.call("nothing")).rejects.toMatchObject({ code: "internal" });
  });

  test("rejects the calls under way when it is closed, and those that come later", async () => {
    const channel = new ThreadChannel(() => undefined, {});
    const call = channel.call("never");
    channel.close(new AppError("internal", "the thread died"));
    expect(call).rejects.toThrow("the thread died");
    expect(channel.call("late")).rejects.toThrow("the thread died");
  });
});

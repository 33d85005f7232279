/**
 * A registry whose moods are an adversary's to choose. No mood lasts: a reader waits longer than
 * that, so whatever it does to the network, no reader may ever notice.
 *
 * @module
 */
import { LyingServer } from "../../test/support/lying-registry.ts";
import { honestly, type LazyPackFixture } from "../../test/support/ondemand/lazy-pack.ts";

/**
 * - `slow`: each answer comes after a while;
 * - `cut`: half of what was asked for comes, and no more;
 * - `corrupt`: one byte is wrong;
 * - `broken`: 503;
 * - `silent`: no answer comes until the mood changes, or for long.
 */
export const moods = ["honest", "slow", "cut", "corrupt", "broken", "silent"] as const;

export type Mood = (typeof moods)[number];

const slowMs = 60;
const silentMsMax = 3_000;

export class MoodyRegistry implements AsyncDisposable {
  readonly #server: LyingServer;
  readonly #honest: (request: Request) => Response;
  #mood: Mood = "honest";
  #changed = Promise.withResolvers<void>();
  /** Answers that were not what was asked for. */
  lies = 0;

  constructor(packs: readonly Pick<LazyPackFixture, "digest" | "blob">[]) {
    this.#honest = honestly(packs);
    this.#server = new LyingServer((request) => this.#answer(request));
  }

  /** `host:port`, the first part of an image reference. */
  get authority(): string {
    return this.#server.authority;
  }

  set mood(mood: Mood) {
    this.#mood = mood;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #answer(request: Request): Promise<Response> {
    switch (this.#mood) {
      case "honest":
        return this.#honest(request);
      case "slow":
        await Bun.sleep(slowMs);
        return this.#honest(request);
      case "broken":
        this.lies += 1;
        return new Response(null, { status: 503 });
      case "silent":
        await Promise.race([this.#changed.promise, Bun.sleep(silentMsMax)]);
        return this.#mood === "silent" ? this.#honest(request) : this.#answer(request);
      default:
        this.lies += 1;
        return damaged(this.#honest(request), this.#mood);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.mood = "honest";
    await this.#server[Symbol.asyncDispose]();
  }
}

async function damaged(response: Response, mood: "cut" | "corrupt"): Promise<Response> {
  const { status, headers } = response;
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (mood === "cut")
    return new Response(bytes.subarray(0, bytes.length >> 1), { status, headers });
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 0xff;
  return new Response(bytes, { status, headers });
}

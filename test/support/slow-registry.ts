/**
 * Stands between containerd and a registry, and holds one blob back in the middle.
 *
 * @module
 */
import { LyingServer } from "./lying-registry.ts";

export class SlowRegistry implements AsyncDisposable {
  readonly #server: LyingServer;
  readonly #origin: string;
  readonly #held = new Map<string, Promise<void>>();

  /** @param authority `host:port` of the registry */
  constructor(authority: string) {
    this.#origin = `http://${authority}`;
    this.#server = new LyingServer((request, url) => this.#answer(request, url));
  }

  get authority(): string {
    return this.#server.authority;
  }

  /** Of this blob, only the first half is sent until the result is called. */
  hold(digest: string): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held.set(digest, promise);
    return resolve;
  }

  async #answer({ method, headers }: Request, url: URL): Promise<Response> {
    const answer = await fetch(`${this.#origin}${url.pathname}${url.search}`, { method, headers });
    const released = this.#held.get(url.pathname.split("/").at(-1) ?? "");
    if (method !== "GET" || released === undefined) return answer;
    const blob = await answer.bytes();
    const half = Math.floor(blob.length / 2);
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(blob.subarray(0, half));
        await released;
        controller.enqueue(blob.subarray(half));
        controller.close();
      },
    });
    const length = { "content-length": String(blob.length) };
    return new Response(body, { status: answer.status, headers: length });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }
}

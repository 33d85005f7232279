/** Where the content of a lazy layer comes from, in tests: at once, late, not at all. */
import { writeSync } from "node:fs";
import { AppError } from "../../../src/errors.ts";
import type { Demand, ReadRequest } from "../../../src/ondemand/contract.ts";
import type { LazyLayer } from "./lazy-layer.ts";

export class FakeSource {
  /** All that was asked for. */
  readonly demands: ReadRequest[] = [];
  readonly #layer: LazyLayer;
  #before: (request: ReadRequest) => Promise<void> = () => Promise.resolve();
  #asked = Promise.withResolvers<ReadRequest>();

  constructor(layer: LazyLayer) {
    this.#layer = layer;
  }

  readonly demand: Demand = async (request) => {
    this.demands.push(request);
    this.#asked.resolve(request);
    await this.#before(request);
    this.fill(request);
  };

  /** Puts the pieces of a range in the pack; those of all of it without an argument. */
  fill({ offsetBytes, lengthBytes } = { offsetBytes: 0, lengthBytes: Infinity }): void {
    const { pieces, presence, file } = this.#layer.pack;
    const [first, end] = pieces.covering(offsetBytes, lengthBytes);
    for (let piece = first; piece < end; piece++) {
      if (presence.has(piece)) continue;
      const content = this.#layer.contentOf(piece);
      writeSync(file, content, 0, content.length, pieces.packOffsetOf(piece));
      presence.set(piece);
    }
  }

  /** Every demand to come waits for this first, and fails where it rejects. */
  behave(before: (request: ReadRequest) => Promise<void>): void {
    this.#before = before;
    this.#asked = Promise.withResolvers();
  }

  /** Demands to come wait until they are released. @returns what releases them */
  hold(): { readonly asked: Promise<ReadRequest>; readonly release: () => void } {
    const held = Promise.withResolvers<void>();
    this.behave(() => held.promise);
    const release = () => {
      this.behave(() => Promise.resolve());
      held.resolve();
    };
    return { asked: this.#asked.promise, release };
  }

  /** As a registry that cannot be reached. */
  readonly fail = (): Promise<void> =>
    Promise.reject(new AppError("unavailable", "The registry does not answer"));
}

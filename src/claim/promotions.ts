/**
 * Lazy layers whose content is all there become ordinary ones, one after the other, in the
 * background (layer/rewrite.ts).
 *
 * What fails is tried again later, ever more seldom; until then the layer is what it was, and as
 * good to read. A process that dies meanwhile begins again with what the index says is complete.
 *
 * @module
 */
import { AppError, describeError } from "../errors.ts";
import type { ConvertedLayer } from "../snapshot/contract.ts";
import type { Logger } from "../util/logger.ts";
import type { KnownPack } from "./lazy-layers.ts";

/** After a failure; then ever more seldom. */
const retryMsMin = 10_000;
const retryMsMax = 3_600_000;

export interface PromotionsOptions {
  readonly layers: {
    markComplete(packId: number): Promise<void>;
    promote(layerId: number): Promise<ConvertedLayer | undefined>;
  };
  readonly log: Logger;
}

/** Since the start. Names as in the JSON. */
export interface PromotionCounts {
  promoted: number;
  failed: number;
}

export class Promotions {
  readonly counts: PromotionCounts = { promoted: 0, failed: 0 };
  readonly #options: PromotionsOptions;
  readonly #waiting = new Map<number, KnownPack>();
  readonly #retries = new Map<number, { readonly timer: Timer; readonly delayMs: number }>();
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: PromotionsOptions) {
    this.#options = options;
  }

  /** All content of the pack is there and on disk. To say so twice does no harm. */
  add(pack: KnownPack): void {
    if (this.#isClosed) return;
    this.#waiting.set(pack.packId, pack);
    this.#running ??= this.#run();
  }

  /** Resolves when nothing is under way; whoever cancels the work does that before. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#waiting.clear();
    for (const { timer } of this.#retries.values()) clearTimeout(timer);
    await this.#running;
  }

  /** Resolves when nothing is left to do but what waits to be tried again. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    for (const pack of this.#waiting.values()) {
      await this.#promote(pack);
      this.#waiting.delete(pack.packId);
    }
    this.#running = undefined;
  }

  async #promote(pack: KnownPack): Promise<void> {
    const { layers, log } = this.#options;
    const { packId, layerId, isComplete } = pack;
    try {
      if (!isComplete) await layers.markComplete(packId);
      const layer = await layers.promote(layerId);
      this.#retries.delete(packId);
      // Nobody has the layer any more: it is deleted, or waits for a container to end.
      if (layer === undefined) return;
      this.counts.promoted += 1;
      const fields = { layerId, newLayerId: layer.layerId, addedBytes: layer.addedBytes };
      log.info(fields, `layer ${layerId} has all of its content, it is an ordinary one now`);
    } catch (error) {
      const isCancelled = error instanceof AppError && error.code === "cancelled";
      if (this.#isClosed || isCancelled) return;
      this.counts.failed += 1;
      this.#retryLater(pack, error);
    }
  }

  #retryLater(pack: KnownPack, error: unknown): void {
    const { packId, layerId } = pack;
    const before = this.#retries.get(packId);
    clearTimeout(before?.timer);
    const delayMs = Math.min(2 * (before?.delayMs ?? retryMsMin / 2), retryMsMax);
    const timer = setTimeout(() => this.add(pack), delayMs);
    timer.unref();
    this.#retries.set(packId, { timer, delayMs });
    const isBusy = error instanceof AppError && error.code === "unavailable";
    const fields = { layerId, packId, reason: describeError(error) };
    this.#options.log[isBusy ? "info" : "warn"](fields, `layer ${layerId} stays lazy for now`);
  }
}

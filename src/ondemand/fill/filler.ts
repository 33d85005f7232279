/**
 * Fills lazy packs: runs what the queue decides, until all is there.
 *
 * What another pack of the node has is copied; the rest comes from the registry. Nothing is marked
 * present that was not hashed in this process, in the memory it was then written from.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { AppError, describeError } from "../../errors.ts";
import type { Clock } from "../../registry/clock.ts";
import { formatReference } from "../../registry/reference.ts";
import type { Logger } from "../../util/logger.ts";
import { type Demand, priority, type ReadRequest } from "../contract.ts";
import type { PrefetchCause, PrefetchRequest, Prefetching } from "../control.ts";
import type { FillablePack } from "../fillable-pack.ts";
import { copyPiece, findCopy } from "./copy.ts";
import type { FillCounts } from "./counts.ts";
import { failureOf, type Fetcher } from "./fetcher.ts";
import type { Failure, FetchQueue, Work } from "./fetch-queue.ts";
import type { Neighbours } from "./neighbours.ts";
import { prefetchRuns } from "./prefetch-runs.ts";
import { type PrefetchRun, rankedRuns } from "./run-list.ts";
import { type Run, spansOf } from "./span.ts";
import type { Usefulness } from "./usefulness.ts";

/** How often it is looked whether somebody's time is over, or a pause. */
const tickMs = 250;
/** Between two, whoever else has something to do is let in. */
const lookupsAtOnce = 128;
/** Of what a reader is about to reach; of what nobody has a place in an order for. */
const rankOf = { next: -1, unordered: Number.MAX_SAFE_INTEGER } as const;

export interface FillerOptions {
  readonly queue: FetchQueue;
  readonly fetcher: Fetcher;
  /** Undefined: nothing is guessed. */
  readonly neighbours?: Neighbours;
  readonly counts: FillCounts;
  readonly usefulness: Usefulness;
  readonly clock: Clock;
  /** As the queue has it. */
  readonly gapBytes: number;
  readonly log: Logger;
  /** Pieces of the pack came; perhaps the last one. */
  readonly onFilled: (pack: FillablePack) => void;
}

interface Filling {
  readonly pack: FillablePack;
  readonly cancellation: AbortController;
}

export class Filler {
  readonly #options: FillerOptions;
  readonly #packs = new Map<number, Filling>();
  #stopTicking: (() => void) | undefined;
  #isClosed = false;

  constructor(options: FillerOptions) {
    this.#options = options;
  }

  /** Its pieces may be demanded from now on; nothing where it was added before. */
  add(pack: FillablePack): void {
    if (this.#packs.has(pack.packId)) return;
    this.#packs.set(pack.packId, { pack, cancellation: new AbortController() });
    this.#options.queue.add(pack);
  }

  /**
   * Prefetch and background begin. Not before the kernel was told that what we write raises no
   * events of its own, or we would wait for ourselves.
   */
  open(packId: number): void {
    if (!this.#packs.has(packId)) return;
    this.#options.queue.open(packId);
    // Not at once: hundreds are opened at a start, and all are gone over each time.
    this.#keepTicking();
  }

  /** Whoever waits for the pack gets an error; what is on its way is cut off. */
  remove(packId: number): void {
    this.#options.queue.remove(packId);
    const filling = this.#packs.get(packId);
    if (filling === undefined) return;
    this.#options.neighbours?.budget.forget(filling.pack);
    filling.cancellation.abort();
    this.#packs.delete(packId);
  }

  /** `Demand` of contract.ts; rejects with `not_found` for a pack that was not added. */
  readonly demand: Demand = async ({ packId, offsetBytes, lengthBytes }) => {
    const { counts, queue, neighbours } = this.#options;
    const pack = this.#pack(packId);
    const [first, end] = pack.pieces.covering(offsetBytes, lengthBytes);
    if (pack.presence.firstMissing(first, end) === undefined) return;
    counts.requests += 1;
    const around = neighbours?.around(pack, first, end);
    const answer = queue.demand(pack, first, end, around);
    this.pump();
    try {
      await answer;
    } catch (error) {
      counts.failedRequests += 1;
      throw error;
    } finally {
      // What was guessed and has not come with it was not asked for.
      for (let piece = around?.first ?? end; piece < (around?.end ?? end); piece++)
        if (!pack.inFlight.has(piece)) neighbours?.budget.settle(pack, piece);
    }
  };

  /** Resolves at once; rejects with `not_found` as `demand` does. */
  prefetch(packId: number, request: PrefetchRequest): Prefetching {
    const cause = request.blobEndBytes === undefined ? "request" : "landmark";
    const runs = prefetchRuns(this.#pack(packId), request);
    return this.prefetchRuns(packId, rankedRuns(runs, cause, rankOf.unordered));
  }

  /** As `prefetch`, of pieces whose place in an order is known. */
  prefetchRuns(packId: number, runs: readonly PrefetchRun[]): Prefetching {
    const pack = this.#pack(packId);
    let [pieces, bytes] = [0, 0];
    for (const { first, end } of runs) {
      for (let piece = first; piece < end; piece++) {
        if (pack.presence.has(piece)) continue;
        pieces += 1;
        bytes += pack.pieces.sizeOf(piece);
      }
    }
    this.#options.queue.prefetch(pack, runs);
    this.pump();
    return { pieces, bytes };
  }

  /** Somebody reads in order and will need these bytes soon. */
  readAhead({ packId, offsetBytes, lengthBytes }: ReadRequest): void {
    const pack = this.#packs.get(packId)?.pack;
    if (pack === undefined) return;
    const [first, end] = pack.pieces.covering(offsetBytes, lengthBytes);
    this.prefetchNext(packId, [{ first, end }], "window");
  }

  /** Before all else that is prefetched; nothing for a pack that is gone. */
  prefetchNext(packId: number, runs: readonly Run[], cause: PrefetchCause): void {
    const pack = this.#packs.get(packId)?.pack;
    if (pack === undefined) return;
    const missing = runs.filter(({ first, end }) => pack.nextMissing(first, end) !== undefined);
    if (missing.length === 0) return;
    this.#options.queue.readAhead(pack, rankedRuns(missing, cause, rankOf.next));
    this.pump();
  }

  /** Begins all that may begin now. */
  pump(): void {
    if (this.#isClosed) return;
    const { queue } = this.#options;
    for (let work = queue.next(); work !== undefined; work = queue.next()) void this.#run(work);
    this.#keepTicking();
  }

  /** Nothing begins any more; who waits is answered with `cancelled`. */
  close(): void {
    this.#isClosed = true;
    this.#stopTicking?.();
    for (const packId of this.#packs.keys()) this.remove(packId);
  }

  #pack(packId: number): FillablePack {
    const pack = this.#packs.get(packId)?.pack;
    if (pack !== undefined) return pack;
    throw new AppError("not_found", `There is no lazy pack ${packId}`);
  }

  #keepTicking(): void {
    const { queue, clock } = this.#options;
    if (this.#stopTicking !== undefined || this.#isClosed || !queue.isBusy) return;
    this.#stopTicking = clock.after(tickMs, () => this.#tick());
  }

  #tick(): void {
    this.#stopTicking = undefined;
    this.#options.counts.timeouts += this.#options.queue.expire();
    this.pump();
  }

  /** Never rejects. */
  async #run(work: Work): Promise<void> {
    const { pack } = work;
    const { queue, onFilled } = this.#options;
    using _open = pack.use();
    let failure: Failure | undefined;
    try {
      failure = await this.#fill(work);
    } catch (error) {
      failure = failureOf(error);
    }
    if (failure !== undefined) this.#noteFailure(pack, failure);
    queue.settle(work, failure);
    onFilled(pack);
    this.pump();
  }

  async #fill(work: Work): Promise<Failure | undefined> {
    const { pack, priority: level } = work;
    const { signal } = this.#packs.get(pack.packId)?.cancellation ?? new AbortController();
    const missing = await this.#copy(work);
    const limits = { gapBytes: this.#options.gapBytes, spanBytesMax: work.bytes };
    const onDone = (pieces: Iterable<number>) => this.#note(work, pieces);
    let failure: Failure | undefined;
    for (const span of spansOf(pack.pieces, missing, limits)) {
      if (signal.aborted) break;
      const fetch = { pack, span, priority: level, signal, onDone };
      failure = (await this.#options.fetcher.fetch(fetch)) ?? failure;
    }
    return failure;
  }

  /** The pieces that no pack of the node has. */
  async #copy(work: Work): Promise<number[]> {
    const { pack, pieces } = work;
    const packs = [...this.#packs.values()].map((filling) => filling.pack);
    const missing: number[] = [];
    for (const [count, piece] of pieces.entries()) {
      // Hundreds of packs are asked for each of thousands of pieces.
      if ((count + 1) % lookupsAtOnce === 0) await setImmediate();
      const found = findCopy(packs, pack, piece);
      if (found !== undefined && (await copyPiece(found, pack, piece))) {
        this.#options.counts.copiedBytes += pack.pieces.sizeOf(piece);
        this.#note(work, [piece]);
      } else missing.push(piece);
    }
    return missing;
  }

  #note({ pack, priority: level, cause }: Work, pieces: Iterable<number>): void {
    const { counts, queue, clock, usefulness, neighbours } = this.#options;
    const beforeBytes = pack.presentBytes;
    const beforePieces = pack.presentPieces;
    for (const piece of pieces) {
      const isGuess = neighbours?.budget.settle(pack, piece) === true;
      const why = isGuess && level === priority.demand ? "neighbour" : cause;
      if (why !== undefined && !pack.presence.has(piece)) usefulness.noteFilled(pack, piece, why);
      pack.markPresent(piece);
    }
    const bytes = pack.presentBytes - beforeBytes;
    counts.filledBytes += bytes;
    pack.rate.note(bytes, clock.nowMs());
    pack.reason = undefined;
    if (level === priority.prefetch) counts.prefetchedPieces += pack.presentPieces - beforePieces;
    queue.answer(pack);
  }

  #noteFailure(pack: FillablePack, { kind, error }: Failure): void {
    this.#options.counts.retries += 1;
    const reason = describeError(error);
    // A registry that is away fails the same way many times a second.
    const level = reason === pack.reason ? "debug" : "warn";
    const image = formatReference(pack.reference);
    this.#options.log[level]({ packId: pack.packId, image, kind, reason }, "fetch failed");
  }
}

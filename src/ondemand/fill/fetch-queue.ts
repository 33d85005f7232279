/**
 * Decides what is fetched next, and who gets an answer when it has come.
 *
 * - Demand overtakes prefetch, prefetch overtakes the background; some requests are kept free for
 *   demand. Packs take turns, so no image starves another.
 * - A piece is fetched once, however many wait for it.
 * - A registry that fails is asked by one request at a time until it answers, so that those that
 *   work are not kept waiting by it.
 * - Every request is answered exactly once: when all its pieces are there, or when its time is
 *   over, or when its pack is taken away.
 *
 * It has no timers and no I/O: the filler calls it.
 *
 * @module
 */
import { AppError, describeError } from "../../errors.ts";
import type { Clock } from "../../registry/clock.ts";
import { defined } from "../../util/assert.ts";
import { KiB } from "../../util/bytes.ts";
import { type Priority, priority } from "../contract.ts";
import type { PrefetchCause } from "../control.ts";
import type { FillablePack } from "../fillable-pack.ts";
import type { AheadPolicy } from "./ahead-policy.ts";
import { PackRequests } from "./requests.ts";
import { type PrefetchRun, rankedRuns, RunList } from "./run-list.ts";
import { planSpan, type Run, runsOf } from "./span.ts";

/** Between two attempts; half of it certain, half random. */
const retryMs = { first: 200, max: 15_000 } as const;
/** The same for what nobody waits for. */
const aheadRetryMs = { first: 1_000, max: 120_000 } as const;
/** More patience than this is not for readers to have. */
const retryAfterMsMax = 60_000;
/** A piece that was not what it should be is left to its readers for this long. */
const mismatchPauseMs = 600_000;

/** Of what is known to be read; what lies between is known not to be. */
const knownGapBytes = 8 * KiB;

export interface FetchQueueOptions {
  readonly clock: Clock;
  /** Requests to registries at a time. */
  readonly workers: number;
  /** `lazy.coalesce_bytes`. */
  readonly gapBytes: number;
  readonly readTimeoutMs: number;
  readonly policy: AheadPolicy;
}

/** Pieces to be fetched now. */
export interface Work {
  readonly pack: FillablePack;
  readonly priority: Priority;
  /** Why, where it is prefetched. */
  readonly cause?: PrefetchCause;
  /** Ascending. */
  readonly pieces: readonly number[];
  /** Of the blob, at most. */
  readonly bytes: number;
}

/** Why pieces are still missing after an attempt. */
export interface Failure {
  /** The registry; what it sent; or this machine, whose disk may be full. */
  readonly kind: "registry" | "mismatch" | "local";
  readonly error: unknown;
  /** How long the registry wants to be left alone. */
  readonly retryAfterMs?: number | undefined;
}

interface PackQueue {
  readonly pack: FillablePack;
  /** Prefetch and background may begin. */
  isOpen: boolean;
  readonly requests: PackRequests;
  readonly prefetch: RunList;
  /** Where the background looks next. */
  cursor: number;
  /** Of prefetch and background, since the last success. */
  attempts: number;
  retryAtMs: number;
  /** Pieces that are left to their readers, until when. */
  readonly avoided: Map<number, number>;
}

interface Host {
  isFailing: boolean;
  inFlight: number;
}

export class FetchQueue {
  readonly #options: FetchQueueOptions;
  /** In the order of their turns. */
  readonly #packs = new Map<number, PackQueue>();
  readonly #hosts = new Map<string, Host>();
  readonly #inFlight = { [priority.demand]: 0, [priority.prefetch]: 0, [priority.background]: 0 };

  constructor(options: FetchQueueOptions) {
    this.#options = options;
  }

  get inFlight(): number {
    return Object.values(this.#inFlight).reduce((sum, count) => sum + count, 0);
  }

  /** Whether anything is, or will be, to be done. */
  get isBusy(): boolean {
    return [...this.#packs.values()].some(({ pack }) => !pack.isFull);
  }

  add(pack: FillablePack): void {
    const requests = new PackRequests(pack);
    const state = {
      isOpen: false,
      cursor: 0,
      attempts: 0,
      retryAtMs: 0,
      avoided: new Map<number, number>(),
    };
    this.#packs.set(pack.packId, { pack, requests, prefetch: new RunList(), ...state });
  }

  /** From now on more than what somebody waits for may be fetched of it. */
  open(packId: number): void {
    this.#queueOf(packId).isOpen = true;
  }

  /** Its requests are rejected; what is on its way still comes. */
  remove(packId: number): void {
    const message = `Lazy pack ${packId} was taken away`;
    this.#packs.get(packId)?.requests.rejectAll(new AppError("cancelled", message));
    this.#packs.delete(packId);
  }

  /**
   * Resolves when pieces `[first, end)` are there.
   *
   * @param around a run that holds them, of which the rest comes along if it can
   */
  demand(
    { packId }: FillablePack,
    first: number,
    end: number,
    around: Run = { first, end },
  ): Promise<void> {
    const { requests, avoided } = this.#queueOf(packId);
    const isAvoided = [...avoided.keys()].some((each) => each >= around.first && each < around.end);
    const deadlineMs = this.#options.clock.nowMs() + this.#options.readTimeoutMs;
    const state = { attempts: 0, retryAtMs: 0, lastError: undefined, deadlineMs };
    this.#options.policy.noteDemand();
    return new Promise((resolve, reject) => {
      const asked = isAvoided ? { first, end } : around;
      requests.add({ first, end, around: asked, ...state, resolve, reject });
    });
  }

  prefetch({ packId }: FillablePack, runs: readonly PrefetchRun[]): void {
    const queue = this.#queueOf(packId);
    queue.prefetch.add(runs);
    queue.retryAtMs = 0;
  }

  /** Before all else that is to be prefetched of the pack: a reader is on its way there. */
  readAhead({ packId }: FillablePack, runs: readonly PrefetchRun[]): void {
    this.#queueOf(packId).prefetch.putFirst(runs);
  }

  /** What came was lost again on this machine: for a while, only what somebody waits for comes. */
  postpone({ packId }: FillablePack): void {
    const queue = this.#packs.get(packId);
    if (queue !== undefined) queue.retryAtMs = this.#options.clock.nowMs() + aheadRetryMs.max;
  }

  /** What to fetch now; `settle` must be told how it ended. Undefined: nothing, at the moment. */
  next(): Work | undefined {
    if (this.inFlight >= this.#options.workers) return undefined;
    const nowMs = this.#options.clock.nowMs();
    for (const level of [priority.demand, priority.prefetch, priority.background]) {
      if (!this.#hasPlace(level) || this.#options.policy.hindrance(level) !== undefined) continue;
      for (const queue of this.#inTurn(level)) {
        const work = this.#workOf(queue, level, nowMs);
        if (work !== undefined) return this.#begin(work, queue);
      }
    }
    return undefined;
  }

  /** The pieces of the work that came are marked present; `failure` is why others did not. */
  settle(work: Work, failure?: Failure): void {
    const { pack, pieces } = work;
    this.#inFlight[work.priority] -= 1;
    const host = this.#hostOf(pack);
    host.inFlight -= 1;
    host.isFailing = failure?.kind === "registry";
    for (const piece of pieces) pack.inFlight.delete(piece);
    const queue = this.#packs.get(pack.packId);
    if (queue?.pack !== pack) return;
    queue.requests.answer();
    if (failure === undefined) {
      queue.attempts = 0;
      return;
    }
    const missing = pieces.filter((piece) => !pack.presence.has(piece));
    this.#penalize(queue, work, missing, failure);
  }

  /** Answers those who wait for nothing more. */
  answer({ packId }: FillablePack): void {
    this.#packs.get(packId)?.requests.answer();
  }

  /** Rejects requests whose time is over; how many. */
  expire(): number {
    const nowMs = this.#options.clock.nowMs();
    let count = 0;
    for (const { requests } of this.#packs.values()) count += requests.expire(nowMs);
    return count;
  }

  /** Whether something of the pack is asked for, or on its way. */
  isActive({ packId, inFlight }: FillablePack): boolean {
    const queue = this.#packs.get(packId);
    return (
      inFlight.size > 0 || (queue?.requests.size ?? 0) > 0 || queue?.prefetch.isEmpty === false
    );
  }

  /** How many reads wait, and how many packs have something to prefetch. */
  get waiting(): { readonly demand: number; readonly prefetch: number } {
    const queues = [...this.#packs.values()];
    return {
      demand: queues.reduce((sum, { requests }) => sum + requests.size, 0),
      prefetch: queues.filter(({ prefetch }) => !prefetch.isEmpty).length,
    };
  }

  #queueOf(packId: number): PackQueue {
    return defined(this.#packs.get(packId), `lazy pack ${packId} in the queue`);
  }

  /**
   * Prefetch takes at most half of the places, the background a quarter, but only
   * where nothing is prefetched; one is for demand.
   */
  #hasPlace(level: Priority): boolean {
    const { workers } = this.#options;
    if (level === priority.demand || workers === 1) return true;
    const ahead = this.#inFlight[priority.prefetch] + this.#inFlight[priority.background];
    const share = level === priority.prefetch ? 2 : 4;
    // A start whose content comes before it is read looks quiet, and has the link all the same.
    const isNext = level === priority.prefetch || this.#inFlight[priority.prefetch] === 0;
    const isBelow = this.#inFlight[level] < Math.max(1, Math.floor(workers / share));
    return isNext && isBelow && ahead < workers - 1;
  }

  /** What is prefetched is needed in an order that goes across packs. */
  #inTurn(level: Priority): Iterable<PackQueue> {
    if (level !== priority.prefetch) return this.#packs.values();
    const queues: PackQueue[] = [];
    for (const queue of this.#packs.values()) {
      const { pack, prefetch } = queue;
      // What came meanwhile has no place in the order any more.
      if (!prefetch.isEmpty) prefetch.nextPiece((first, end) => pack.nextMissing(first, end));
      if (!prefetch.isEmpty) queues.push(queue);
    }
    const rankOf = ({ prefetch }: PackQueue) => prefetch.head?.rank ?? 0;
    return queues.sort((left, right) => rankOf(left) - rankOf(right));
  }

  #workOf(queue: PackQueue, level: Priority, nowMs: number): Work | undefined {
    const { pack } = queue;
    const wanted = this.#startOf(queue, level, nowMs);
    if (wanted === undefined) return undefined;
    const isMissing = (piece: number) => pack.isMissing(piece);
    const isWanted = (piece: number) => {
      if (level === priority.background) return true;
      return (level === priority.demand ? queue.requests : queue.prefetch).wants(piece);
    };
    const cause = level === priority.prefetch ? queue.prefetch.head?.cause : undefined;
    const isKnown = cause === "trace" || cause === "predictor";
    const limits = {
      gapBytes: Math.min(this.#options.gapBytes, isKnown ? knownGapBytes : Infinity),
      spanBytesMax: this.#options.policy.spanBytesMax(level),
    };
    const spanFrom = (start: number) => planSpan(pack.pieces, start, isMissing, isWanted, limits);
    const around =
      level === priority.demand ? spanFrom(queue.requests.startAround(wanted)) : undefined;
    const span = around?.pieces.includes(wanted) === true ? around : spanFrom(wanted);
    const work = { pack, priority: level, pieces: span.pieces, bytes: span.lengthBytes };
    return cause === undefined ? work : { ...work, cause };
  }

  /** Asked for each of hundreds of packs whenever something ends: it makes no garbage. */
  #startOf(queue: PackQueue, level: Priority, nowMs: number): number | undefined {
    const { pack, requests, prefetch } = queue;
    if (pack.isFull) return undefined;
    if (level === priority.demand && requests.size === 0) return undefined;
    if (level === priority.prefetch && prefetch.isEmpty) return undefined;
    const { isFailing, inFlight } = this.#hostOf(pack);
    if (isFailing && inFlight > 0) return undefined;
    if (level === priority.demand) return requests.nextPiece(nowMs);
    if (!queue.isOpen || queue.retryAtMs > nowMs) return undefined;
    if (level === priority.background) return this.#nextOfBackground(queue, nowMs);
    return prefetch.nextPiece((first, end) => this.#nextAhead(queue, first, end, nowMs));
  }

  #begin(work: Work, queue: PackQueue): Work {
    const { pack, pieces } = work;
    for (const piece of pieces) pack.inFlight.add(piece);
    this.#inFlight[work.priority] += 1;
    this.#hostOf(pack).inFlight += 1;
    if (work.priority === priority.background) this.#options.policy.noteBackground(work.bytes);
    this.#packs.delete(pack.packId);
    this.#packs.set(pack.packId, queue);
    return work;
  }

  #nextAhead(queue: PackQueue, first: number, end: number, nowMs: number): number | undefined {
    const { pack, avoided } = queue;
    for (let from = first; ; from++) {
      const piece = pack.nextMissing(from, end);
      if (piece === undefined) return undefined;
      const untilMs = avoided.get(piece);
      if (untilMs === undefined || untilMs <= nowMs) return piece;
      from = piece;
    }
  }

  #nextOfBackground(queue: PackQueue, nowMs: number): number | undefined {
    const { length } = queue.pack.pieces;
    const piece =
      this.#nextAhead(queue, queue.cursor, length, nowMs) ??
      this.#nextAhead(queue, 0, queue.cursor, nowMs);
    queue.cursor = piece ?? 0;
    return piece;
  }

  #penalize(
    queue: PackQueue,
    { priority: level, cause }: Work,
    missing: readonly number[],
    failure: Failure,
  ): void {
    const { clock } = this.#options;
    const nowMs = clock.nowMs();
    queue.pack.reason = describeError(failure.error);
    const askedMs = Math.min(failure.retryAfterMs ?? 0, retryAfterMsMax);
    queue.requests.penalize(missing, failure.error, (attempts) => {
      return nowMs + Math.max(askedMs, backoffMs(attempts, retryMs, clock));
    });
    if (failure.kind === "mismatch") {
      for (const piece of missing) queue.avoided.set(piece, nowMs + mismatchPauseMs);
      return;
    }
    if (level === priority.demand) return;
    queue.attempts += 1;
    queue.retryAtMs = nowMs + Math.max(askedMs, backoffMs(queue.attempts, aheadRetryMs, clock));
    if (cause === undefined) return;
    const rank = queue.prefetch.head?.rank ?? 0;
    queue.prefetch.putFirst(rankedRuns(runsOf(missing), cause, rank));
  }

  #hostOf({ reference }: FillablePack): Host {
    const known = this.#hosts.get(reference.host);
    if (known !== undefined) return known;
    const host = { isFailing: false, inFlight: 0 };
    this.#hosts.set(reference.host, host);
    return host;
  }
}

/** Half of it is certain, half random: nodes must not all come back at the same moment. */
function backoffMs(
  attempts: number,
  { first, max }: { readonly first: number; readonly max: number },
  clock: Clock,
): number {
  return Math.min(max, first * 2 ** Math.min(20, attempts - 1)) * (0.5 + clock.random() / 2);
}

/**
 * The lazy layers of the node, as `serve` sees them: it tells dedupd which packs there are, and
 * hears from it which are complete.
 *
 * A pack is exposed from when its layer was claimed to when the layer is deleted, mounted or not:
 * so it is filled in the background, and mounting takes no longer than asking for its path. dedupd
 * remembers it over its own restarts; what either of the two has missed of the other is put right
 * whenever they find each other again.
 *
 * dedupd may be away. Then layers are neither mounted nor deleted for a while; nothing else waits.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { AppError, describeError } from "../errors.ts";
import type { ControlClient } from "../ondemand/control-client.ts";
import type {
  DedupdEvent,
  DedupdStatus,
  PackStatus,
  Prefetching,
  PrefetchRequest,
  TraceStored,
} from "../ondemand/control.ts";
import type { Logger } from "../util/logger.ts";
import { SuspectPacks } from "./suspect-packs.ts";

export type DedupdCalls = Pick<
  ControlClient,
  | "expectUse"
  | "expose"
  | "withdraw"
  | "packs"
  | "prefetch"
  | "events"
  | "status"
  | "trace"
  | "putTrace"
>;

/** A pack that the index has. */
export interface KnownPack {
  readonly packId: number;
  readonly layerId: number;
  /** All content is there and on disk, as far as the index was told. */
  readonly isComplete: boolean;
}

export interface LazyLayersOptions {
  readonly dedupd: DedupdCalls;
  /** All there are. */
  readonly packs: () => readonly KnownPack[];
  /** The content of the layer is all there: it may become an ordinary one. */
  readonly onComplete: (pack: KnownPack) => void;
  /** How long mounting waits for dedupd. */
  readonly awayMs: number;
  /** How long it waits for the backend that fetches everything first. */
  readonly fetchMs: number;
  readonly log: Logger;
}

export interface DedupdView {
  readonly dedupd: DedupdStatus;
  /** Those that are exposed. */
  readonly packs: readonly PackStatus[];
}

/** What dedupd told of failures since the start. Names as in the JSON. */
export interface EventCounts {
  readonly mismatches: number;
  readonly failures: number;
  readonly suspects: number;
}

/** Between two attempts to reach dedupd: for who waits to mount, and for who listens. */
const retryMs = 200;
const listenRetryMs = 1_000;
const idleRetryMs = 60_000;
/** Who wants to see figures does not wait for a dedupd that hangs. */
const statusMs = 2_000;

export class LazyLayers {
  readonly #counts = { mismatches: 0, failures: 0 };
  readonly #suspects: SuspectPacks;
  readonly #options: LazyLayersOptions;
  readonly #stop = new AbortController();
  #listening: Promise<void> | undefined;
  #status: DedupdStatus | undefined;
  readonly #startMs = Date.now();
  /** A layer was made, on a node that had none. */
  #needed = Promise.withResolvers<void>();
  /** Since when dedupd does not answer; undefined while it does. */
  #awaySinceMs: number | undefined;
  /** Whether that was said. */
  #isAwayKnown = false;

  constructor(options: LazyLayersOptions) {
    this.#options = options;
    this.#suspects = new SuspectPacks(options.log);
  }

  get counts(): EventCounts {
    return { ...this.#counts, suspects: this.#suspects.count };
  }

  /** Finds dedupd, now or whenever it comes, and listens to it. */
  start(): void {
    this.#listening ??= this.#listen();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#listening;
  }

  /**
   * The device that has the content of the pack: from when it resolves, reads of it wait for what
   * is missing. Rejects with `unavailable` where dedupd stays away.
   */
  async device(packId: number): Promise<string> {
    const timeoutMs =
      this.#status?.backend === "eager" ? this.#options.fetchMs : this.#options.awayMs;
    try {
      return await this.#untilThere(() => this.#options.dedupd.expose(packId, { timeoutMs }));
    } catch (error) {
      throw cannotServe(packId, error);
    }
  }

  /** Rejects with `failed_precondition` unless all content of the pack is there. */
  async requireWhole(packId: number): Promise<void> {
    const packs = await this.#options.dedupd.packs();
    const pack = packs.find((exposed) => exposed.packId === packId);
    if (pack !== undefined && pack.presentPieces === pack.pieces) return;
    throw new AppError("failed_precondition", `Lazy pack ${packId} has content to be fetched`, {
      remedy:
        'a loop device would read zeros: set "lazy.backend" to "fuse" or "mount.method" to "auto"',
    });
  }

  /** Layers are about to be made: dedupd takes about as long to start. */
  expect(): void {
    this.#options.dedupd.expectUse();
  }

  /**
   * A layer was made just now: what its author wants first is fetched, then the rest.
   *
   * @param blobEndBytes up to where in the blob that is; 0 for nothing
   */
  async added(packId: number, blobEndBytes: number): Promise<void> {
    const { dedupd, log } = this.#options;
    this.#needed.resolve();
    try {
      await this.#untilThere(async () => {
        await dedupd.expose(packId);
        if (blobEndBytes > 0) await dedupd.prefetch(packId, { blobEndBytes });
      });
    } catch (error) {
      // Exposed when dedupd is found again, or when the layer is mounted.
      log.warn({ packId, reason: describeError(error) }, "the content of a layer is fetched later");
    }
  }

  /**
   * The files of the packs are gone. Resolves when dedupd has let go of them, whenever that is; or
   * with the end of the process: the next one begins with letting dedupd let go.
   */
  async letGo(packIds: readonly number[]): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#withdraw(packIds);
        return;
      } catch (error) {
        this.#noteAway(error);
        await this.#pause(listenRetryMs);
      }
    }
  }

  /** Rejects with `unavailable` where dedupd is away. */
  async prefetch(packId: number, request: PrefetchRequest): Promise<Prefetching> {
    await this.device(packId);
    return this.#options.dedupd.prefetch(packId, request);
  }

  /** What the start of an image reads first; rejects with `not_found`, `unavailable`. */
  async trace(image: string): Promise<string> {
    return (await this.#options.dedupd.trace(image)).trace;
  }

  /** Rejects with `invalid_argument`, `resource_exhausted`, `unavailable`. */
  putTrace(image: string, trace: string): Promise<TraceStored> {
    return this.#options.dedupd.putTrace(image, { trace });
  }

  /** Of dedupd, as it is now; undefined where it is away, or has nothing to serve packs with. */
  async status(): Promise<DedupdView | undefined> {
    try {
      const [status, packs] = await Promise.all([
        this.#options.dedupd.status({ timeoutMs: statusMs }),
        this.#options.dedupd.packs({ timeoutMs: statusMs }),
      ]);
      this.#status = status;
      return { dedupd: status, packs };
    } catch (error) {
      if (error instanceof AppError) return undefined;
      throw error;
    }
  }

  /** Calls again, for a while, as long as nobody answers. */
  async #untilThere<T>(call: () => Promise<T>): Promise<T> {
    const deadlineMs = performance.now() + this.#options.awayMs;
    for (;;) {
      try {
        return await call();
      } catch (error) {
        const isAway = error instanceof AppError && error.code === "unavailable";
        const isOver = this.#stop.signal.aborted || performance.now() + retryMs > deadlineMs;
        if (!isAway || isOver) throw error;
        await this.#pause(retryMs);
      }
    }
  }

  async #withdraw(packIds: readonly number[]): Promise<void> {
    await Promise.all(packIds.map((packId) => this.#options.dedupd.withdraw(packId)));
  }

  async #listen(): Promise<void> {
    const { signal } = this.#stop;
    let isFound = false;
    let last = 0;
    while (!signal.aborted) {
      try {
        if (!isFound) await this.#reconcile();
        isFound = true;
        this.#noteFound();
        const answer = await this.#options.dedupd.events(last, { signal });
        last = answer.last;
        for (const event of answer.events) this.#hear(event);
        if (answer.events.some(({ kind }) => kind === "suspect")) await this.#askForSuspects();
      } catch (error) {
        isFound = false;
        this.#noteAway(error);
        await this.#untilNeeded();
      }
    }
  }

  /** On a node without lazy layers there is nobody to listen to. */
  async #untilNeeded(): Promise<void> {
    if (this.#options.packs().length > 0) return this.#pause(listenRetryMs);
    this.#needed = Promise.withResolvers();
    await Promise.race([this.#pause(idleRetryMs), this.#needed.promise]);
  }

  /** After each time that the two did not hear each other. */
  async #reconcile(): Promise<void> {
    const { dedupd, packs, log } = this.#options;
    this.#status = await dedupd.status();
    const exposed = await dedupd.packs();
    // Those of before: dedupd may have been started by somebody else, and earlier.
    this.#suspects.note(this.#status.suspects, exposed);
    const known = new Map(packs().map((pack) => [pack.packId, pack]));
    const strays = exposed.filter(({ packId }) => !known.has(packId));
    await this.#withdraw(strays.map(({ packId }) => packId));
    for (const { packId, state } of exposed) if (state === "complete") this.#complete(packId);
    const held = new Set(exposed.map(({ packId }) => packId));
    for (const { packId, isComplete } of known.values()) {
      if (isComplete || held.has(packId)) continue;
      // Not waited for: a backend may fetch all of it first.
      dedupd.expose(packId).catch((error: unknown) => {
        log.warn({ packId, reason: describeError(error) }, "a lazy pack is not filled");
      });
    }
  }

  async #askForSuspects(): Promise<void> {
    const { dedupd } = this.#options;
    const [{ suspects }, packs] = await Promise.all([dedupd.status(), dedupd.packs()]);
    this.#suspects.note(suspects, packs);
  }

  #hear({ kind, packId, image, message, timeMs }: DedupdEvent): void {
    // What happened before was heard by the process before, or is seen in what the packs are like
    // now; it may have been another pack that had the number then.
    if (timeMs < this.#startMs) return;
    if (kind === "complete") return this.#complete(packId);
    if (kind === "suspect") return;
    this.#counts[kind === "mismatch" ? "mismatches" : "failures"] += 1;
    const fields = { kind, packId, image, reason: message };
    this.#options.log.error(fields, `lazy pack ${packId}: ${kind}`);
  }

  #complete(packId: number): void {
    const pack = this.#options.packs().find((known) => known.packId === packId);
    if (pack !== undefined) this.#options.onComplete(pack);
  }

  #noteFound(): void {
    if (this.#isAwayKnown) this.#options.log.info({}, "dedupd is there again");
    this.#awaySinceMs = undefined;
    this.#isAwayKnown = false;
  }

  /**
   * One line for each time it is away; not while it starts, and where nothing is lazy, nobody needs
   * it.
   */
  #noteAway(error: unknown): void {
    const { packs, dedupd, awayMs, log } = this.#options;
    this.#awaySinceMs ??= performance.now();
    const isShort = performance.now() - this.#awaySinceMs < awayMs;
    const missing = packs().find(({ isComplete }) => !isComplete);
    if (isShort || missing === undefined || this.#isAwayKnown || this.#stop.signal.aborted) return;
    this.#isAwayKnown = true;
    log.warn({ reason: describeError(error) }, "dedupd is away: lazy layers are not filled");
    // Whoever looks after it starts it where it is needed.
    dedupd.expose(missing.packId).catch(() => undefined);
  }

  /** Ends early when all is closed. */
  async #pause(durationMs: number): Promise<void> {
    const { signal } = this.#stop;
    await sleep(durationMs, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

function cannotServe(packId: number, cause: unknown): AppError {
  const remedy = cause instanceof AppError ? cause.remedy : undefined;
  const code = cause instanceof AppError ? cause.code : "internal";
  const problem = `The content of lazy pack ${packId} cannot be served`;
  return new AppError(code, problem, { cause, ...(remedy !== undefined && { remedy }) });
}

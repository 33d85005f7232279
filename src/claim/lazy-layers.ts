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
import type { DedupdEvent, DedupdStatus, PackStatus } from "../ondemand/control.ts";
import type { Logger } from "../util/logger.ts";

export type DedupdControl = Pick<
  ControlClient,
  "expose" | "withdraw" | "packs" | "prefetch" | "events" | "status"
>;

/** A pack that the index has. */
export interface KnownPack {
  readonly packId: number;
  readonly layerId: number;
  /** All content is there and on disk, as far as the index was told. */
  readonly isComplete: boolean;
}

export interface LazyLayersOptions {
  readonly dedupd: DedupdControl;
  /** All there are. */
  readonly packs: () => readonly KnownPack[];
  /** Up to where in the blob the author of the image wants content fetched first; 0 for none. */
  readonly prefetchEndBytes: (packId: number) => Promise<number>;
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
  mismatches: number;
  failures: number;
  suspects: number;
}

/** Between two attempts to reach dedupd: for who waits to mount, and for who listens. */
const retryMs = 200;
const listenRetryMs = 1_000;

export class LazyLayers {
  readonly counts: EventCounts = { mismatches: 0, failures: 0, suspects: 0 };
  readonly #options: LazyLayersOptions;
  readonly #stop = new AbortController();
  #listening: Promise<void> | undefined;
  #status: DedupdStatus | undefined;
  readonly #startMs = Date.now();
  /** Whether all packs that dedupd has are ours. */
  #isReconciled = false;
  /** Whether it was said that dedupd is away. */
  #isAway = false;

  constructor(options: LazyLayersOptions) {
    this.#options = options;
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
    const { awayMs, fetchMs } = this.#options;
    const isEager = this.#status?.backend === "eager";
    const deadlineMs = performance.now() + awayMs;
    for (;;) {
      try {
        return await this.#expose(packId, isEager ? fetchMs : awayMs);
      } catch (error) {
        const isAway = error instanceof AppError && error.code === "unavailable";
        const isOver = this.#stop.signal.aborted || performance.now() + retryMs > deadlineMs;
        if (!isAway || isOver) throw cannotServe(packId, error);
        await this.#pause(retryMs);
      }
    }
  }

  /** A layer was made just now: what its author wants first is fetched, then the rest. */
  async added(packId: number): Promise<void> {
    const { dedupd, prefetchEndBytes, awayMs, log } = this.#options;
    try {
      const blobEndBytes = await prefetchEndBytes(packId);
      await this.#expose(packId, awayMs);
      if (blobEndBytes > 0) await dedupd.prefetch(packId, { blobEndBytes });
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

  /** Has the pack filled from now on. */
  async expose(packId: number): Promise<void> {
    await this.#expose(packId, this.#options.awayMs);
  }

  /** Of dedupd, as it is now; undefined where it is away. */
  async status(): Promise<DedupdView | undefined> {
    try {
      const [status, packs] = await Promise.all([
        this.#options.dedupd.status(),
        this.#options.dedupd.packs(),
      ]);
      this.#status = status;
      return { dedupd: status, packs };
    } catch (error) {
      if (error instanceof AppError && error.code === "unavailable") return undefined;
      throw error;
    }
  }

  /** A number may have been another pack's, of which dedupd has to let go first. */
  async #expose(packId: number, timeoutMs: number): Promise<string> {
    if (!this.#isReconciled) await this.#reconcile();
    return this.#options.dedupd.expose(packId, { timeoutMs });
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
      } catch (error) {
        isFound = false;
        this.#noteAway(error);
        await this.#pause(listenRetryMs);
      }
    }
  }

  /** After each time that the two did not hear each other. */
  async #reconcile(): Promise<void> {
    const { dedupd, packs, log } = this.#options;
    this.#status = await dedupd.status();
    const exposed = await dedupd.packs();
    const known = new Map(packs().map((pack) => [pack.packId, pack]));
    const strays = exposed.filter(({ packId }) => !known.has(packId));
    await this.#withdraw(strays.map(({ packId }) => packId));
    this.#isReconciled = true;
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

  #hear({ kind, packId, image, message, timeMs }: DedupdEvent): void {
    if (kind === "complete") this.#complete(packId);
    // What happened before was heard by the process before.
    if (kind === "complete" || timeMs < this.#startMs) return;
    if (kind === "mismatch") this.counts.mismatches += 1;
    else if (kind === "failed") this.counts.failures += 1;
    else this.counts.suspects += 1;
    const fields = { kind, packId, image, reason: message };
    this.#options.log.error(fields, `lazy pack ${packId}: ${kind}`);
  }

  #complete(packId: number): void {
    const pack = this.#options.packs().find((known) => known.packId === packId);
    if (pack !== undefined) this.#options.onComplete(pack);
  }

  #noteFound(): void {
    if (this.#isAway) this.#options.log.info({}, "dedupd is there again");
    this.#isAway = false;
  }

  /** One line for each time it is away; where nothing is lazy, nobody needs it. */
  #noteAway(error: unknown): void {
    const isNeeded = !this.#stop.signal.aborted && this.#options.packs().length > 0;
    if (!isNeeded || this.#isAway) return;
    this.#isAway = true;
    const fields = { reason: describeError(error) };
    this.#options.log.warn(fields, "dedupd is away: lazy layers are not filled");
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

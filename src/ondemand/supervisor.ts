/**
 * Sees to it that dedupd and the keeper run, for `serve`: finds them, starts them, and starts them
 * again when they end.
 *
 * They are no children in the sense that they would end with serve: running containers go on
 * reading while serve is replaced, and the next serve finds them by their sockets.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { AppError, describeError } from "../errors.ts";
import type { Logger } from "../util/logger.ts";
import type { ControlClient } from "./control-client.ts";
import type { DedupdStatus } from "./control.ts";
import { endProcess } from "./end-process.ts";
import { generationOf } from "./generation.ts";
import type { KeeperClient } from "./keeper-client.ts";
import type { DetachedProcess } from "./own-process.ts";

/** dedupd opens all packs again before it answers. */
const startTimeoutMs = 20_000;
const askIntervalMs = 10;
/** It has only to let go of its files; what it is fetching is asked for again by its successor. */
const endGraceMs = 5_000;
/** Whoever starts does not wait longer for what comes before the start of dedupd. */
const beginTimeoutMs = 1_000;
/** Before the next start, where the last dedupd lived shorter than that: readers wait meanwhile. */
const shortLifeMs = 500;
/** Before the next start where the last one did not come about; doubled up to the limit. */
const retryDelayMs = 100;
const retryDelayMsMax = 5_000;

type HeldChannels = Pick<KeeperClient, "mirror" | "mirrored" | "close">;

export interface SupervisorOptions {
  readonly control: Pick<ControlClient, "status" | "events" | "packs">;
  /** Of the dedupd that `startDedupd` starts. */
  readonly generation: string;
  /**
   * Undefined: somebody else starts it, and again when it ends.
   *
   * @param channels names of channels that are kept for it
   */
  readonly startDedupd: ((channels: readonly string[]) => DetachedProcess) | undefined;
  /** Looks after the keeper from when it is called; undefined where there need not be one. */
  readonly openKeeper: () => HeldChannels | undefined;
  readonly endKeeper: () => Promise<void>;
  /** Whether packs are exposed, as the disk has it: a dedupd that starts has none open yet. */
  readonly hasExposed: () => boolean;
  readonly log: Logger;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #stop = new AbortController();
  #keeper: HeldChannels | undefined;
  /** That of the dedupd which was found or started last. */
  #pid: number | undefined;
  /** One that was started and has not answered yet. */
  #silent: number | undefined;
  #watching: Promise<void> | undefined;
  #running = Promise.withResolvers<void>();
  /** It runs, or its start is under way. */
  readonly #begun = Promise.withResolvers<void>();

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Starts to look after dedupd; it is running when `running` resolves. */
  start(): void {
    if (this.#stop.signal.aborted) return;
    this.#keeper ??= this.#options.openKeeper();
    this.#watching ??= this.#watch();
  }

  /**
   * Looks after dedupd if one runs or packs are exposed; else it is started at its first use.
   *
   * Resolves soon, when the process is there: it then takes over whatever this one does meanwhile.
   */
  async begin(): Promise<void> {
    if (!this.#options.hasExposed()) {
      void this.find();
      return;
    }
    this.start();
    await Promise.race([
      this.#begun.promise,
      sleep(beginTimeoutMs, undefined, { signal: this.#stop.signal, ref: false }).catch(() => {}),
    ]);
  }

  /** Looks after dedupd only if one runs, as an earlier serve has left it. */
  async find(): Promise<void> {
    if ((await this.#status()) !== undefined) this.start();
  }

  /**
   * Resolves when dedupd answers; does not start it. Rejects with `unavailable` when `timeoutMs`
   * have passed, and when all is closed.
   */
  async running(timeoutMs: number): Promise<void> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const giveUp = () => {
      const remedy = "see the log for why it cannot be started";
      reject(new AppError("unavailable", "dedupd does not run", { remedy }));
    };
    const timer = setTimeout(giveUp, timeoutMs);
    this.#stop.signal.addEventListener("abort", giveUp);
    try {
      await Promise.race([this.#running.promise, late]);
    } finally {
      clearTimeout(timer);
      this.#stop.signal.removeEventListener("abort", giveUp);
    }
  }

  /** Leaves both processes to the next serve; ends them if they have nothing to do. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#watching;
    const isIdle = this.#watching !== undefined && (await this.#endIdle());
    await this.#keeper?.close();
    // Last: it is what the client above would start again.
    if (isIdle) await this.#options.endKeeper();
  }

  async #endIdle(): Promise<boolean> {
    const { control, hasExposed, log } = this.#options;
    try {
      if (this.#silent !== undefined) return await this.#endSilent(this.#silent);
      const [{ pid }, packs] = await Promise.all([control.status(), control.packs()]);
      if (packs.length > 0 || hasExposed()) return false;
      await endProcess(pid, endGraceMs);
      return !hasExposed();
    } catch (error) {
      log.warn({ reason: describeError(error) }, "dedupd and the keeper are left as they are");
      return false;
    }
  }

  /** It opens nothing but what is exposed, so what it was about to do is known from the disk. */
  async #endSilent(pid: number): Promise<boolean> {
    const { hasExposed } = this.#options;
    if (hasExposed()) return false;
    await endProcess(pid, endGraceMs);
    // Another one may have been there all the time, and slow to answer.
    return !hasExposed() && (await this.#status()) === undefined;
  }

  async #watch(): Promise<void> {
    const { log } = this.#options;
    let delayMs = 0;
    while (!this.#stop.signal.aborted) {
      try {
        const { pid } = await this.#findOrStart();
        this.#pid = pid;
        this.#begun.resolve();
        const startMs = performance.now();
        delayMs = 0;
        await this.#mirror();
        this.#running.resolve();
        await this.#untilLost(pid);
        if (this.#stop.signal.aborted) return;
        log.warn({ pid }, "dedupd ended; starting it again");
        this.#running = Promise.withResolvers();
        if (performance.now() - startMs < shortLifeMs) await this.#pause(retryDelayMs);
      } catch (error) {
        log.error({ reason: describeError(error) }, "cannot start dedupd");
        this.#begun.resolve();
        delayMs = Math.min(Math.max(delayMs * 2, retryDelayMs), retryDelayMsMax);
        await this.#pause(delayMs);
      }
    }
  }

  /** The channels, so that they outlive even dedupd and the keeper together. */
  async #mirror(): Promise<void> {
    try {
      await this.#keeper?.mirror();
    } catch (error) {
      this.#options.log.warn({ reason: describeError(error) }, "serve holds no channels");
    }
  }

  async #findOrStart(): Promise<DedupdStatus> {
    const { generation, startDedupd, log } = this.#options;
    const found = await this.#status();
    if (startDedupd === undefined) return found ?? (await this.#answer(() => false));
    if (found !== undefined) {
      const other = generationOf(found.pid);
      if (other === undefined || other === generation) return found;
      log.info({ pid: found.pid, version: found.version }, "replacing dedupd");
      await endProcess(found.pid, endGraceMs);
    } else if (this.#pid !== undefined) await this.#untilGone(this.#pid);
    const child = startDedupd(this.#keeper?.mirrored() ?? []);
    this.#pid = child.pid;
    this.#silent = child.pid;
    this.#begun.resolve();
    let hasEnded = false;
    void child.exited.then(() => {
      hasEnded = true;
      // Its number may be another process's from now on.
      if (this.#silent === child.pid) this.#silent = undefined;
    });
    return this.#answer(() => hasEnded);
  }

  /**
   * One that was told to end does not answer any more, but nobody can take its place before it has
   * let go of its files; one that hangs never does.
   */
  async #untilGone(pid: number): Promise<void> {
    // Not another process that has got the number.
    const isThere = () => generationOf(pid) === this.#options.generation;
    const endMs = performance.now() + endGraceMs;
    while (isThere() && performance.now() < endMs) await Bun.sleep(askIntervalMs);
    if (isThere()) await endProcess(pid, 0);
  }

  async #answer(hasEnded: () => boolean): Promise<DedupdStatus> {
    const endMs = performance.now() + startTimeoutMs;
    while (performance.now() < endMs && !this.#stop.signal.aborted) {
      const status = await this.#status();
      if (status !== undefined) return status;
      if (hasEnded()) throw new AppError("unavailable", "dedupd ended before it answered");
      await Bun.sleep(askIntervalMs);
    }
    throw new AppError("unavailable", `dedupd did not answer in ${startTimeoutMs} ms`);
  }

  /** Undefined where nobody answers. */
  async #status(): Promise<DedupdStatus | undefined> {
    const status = await this.#options.control.status().catch(() => undefined);
    if (status !== undefined) this.#silent = undefined;
    return status;
  }

  /** A request that waits for an event ends with the process that would answer it. */
  async #untilLost(pid: number): Promise<void> {
    const { control, log } = this.#options;
    const { signal } = this.#stop;
    let after = 0;
    try {
      for (;;) after = (await control.events(after, { signal })).last;
    } catch (error) {
      if (signal.aborted || !isTimeout(error)) return;
      log.error({ pid }, "dedupd runs but does not answer; ending it");
      await endProcess(pid, 0);
    }
  }

  async #pause(delayMs: number): Promise<void> {
    const { signal } = this.#stop;
    if (delayMs > 0 && !signal.aborted) {
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** The control client's way to say that the process took the request and said nothing. */
function isTimeout(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && cause.name === "TimeoutError";
}

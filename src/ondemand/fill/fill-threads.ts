/**
 * Gives jobs to threads, so that the event loop can always answer; demand goes first.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import type { AppError } from "../../errors.ts";
import { KiB } from "../../util/bytes.ts";
import { WorkerPool } from "../../workers.ts";
import { type Priority, priority } from "../contract.ts";
import { type FillJob, type FillResult, runFillJob } from "./fill-job.ts";

/** A gigabyte and more of content a second is more than links bring. */
const threadsMax = 4;
const idleMs = 60_000;
/** Content that is decompressed and hashed in about the time a thread takes to be told of it. */
const hereBytesMax = 192 * KiB;

/** Two at least, on any machine: a long job ahead must not hold a demand up. */
export function threadsOn(cores: number): number {
  return Math.max(2, Math.min(threadsMax, cores - 1));
}

interface WaitingJob {
  readonly job: FillJob;
  readonly resolve: (result: Promise<FillResult>) => void;
}

export class FillThreads {
  readonly #pool: WorkerPool;
  readonly #size = threadsOn(availableParallelism());
  readonly #waiting: Record<"demand" | "ahead", WaitingJob[]> = { demand: [], ahead: [] };
  #running = 0;

  constructor(onCrash: (error: AppError) => void) {
    this.#pool = new WorkerPool({
      entry: "filler-thread",
      threadsMax: this.#size,
      idleMs,
      configuration: () => undefined,
      handlers: {},
      onCrash,
    });
  }

  /** As `runFillJob`. */
  run(job: FillJob, level: Priority): Promise<FillResult> {
    const { sizeBytes, innerOffsetBytes } = job.pieces;
    const contentBytes = sizeBytes.reduce((sum, size) => sum + size, innerOffsetBytes.at(-1) ?? 0);
    if (contentBytes <= hereBytesMax) return runFillJob(job);
    const kind = level === priority.demand ? "demand" : "ahead";
    return new Promise((resolve) => {
      this.#waiting[kind].push({ job, resolve });
      this.#startNext();
    });
  }

  /** Starts a thread, which takes longer than most jobs: somebody will soon need one. */
  warmUp(): void {
    // A failure is that of the first job, and told there.
    this.#pool.call("wake").catch(() => undefined);
  }

  close(): void {
    this.#pool.close();
  }

  #startNext(): void {
    while (this.#running < this.#size) {
      const next = this.#waiting.demand.shift() ?? this.#nextAhead();
      if (next === undefined) return;
      this.#running += 1;
      const result = this.#pool.call<FillResult>("fill", next.job).finally(() => {
        this.#running -= 1;
        this.#startNext();
      });
      next.resolve(result);
    }
  }

  /** One thread is kept free for demand. */
  #nextAhead(): WaitingJob | undefined {
    const isLast = this.#running >= this.#size - 1;
    return isLast ? undefined : this.#waiting.ahead.shift();
  }
}

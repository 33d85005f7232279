/**
 * Worker threads: where everything runs that may block, so that gRPC never does.
 *
 * This file and the entries must lie in `src/` itself: in the compiled binary the URL of a worker
 * is relative to the executable, not to the module that makes it.
 *
 * @module
 */
import { AppError, describeError } from "./errors.ts";
import { ThreadChannel, type Handlers } from "./util/thread-channel.ts";

export interface WorkerThread {
  call<Result>(name: string, argument?: unknown): Promise<Result>;
}

interface OwnedThread extends WorkerThread {
  terminate(): void;
}

/** Threads of the layers' builders, and of dedupd, which know little and start quickly. */
export type ThreadEntry = "worker" | "filler-thread";

export interface WorkerPoolOptions {
  /** Default: `worker`. */
  readonly entry?: ThreadEntry;
  readonly threadsMax: number;
  /** An unused thread ends after this time. */
  readonly idleMs: number;
  /** So many of them do not. Default: 0. */
  readonly keptThreads?: number;
  /** Argument of the call `configure` that every new thread gets first. */
  readonly configuration: () => unknown;
  /** What threads may call. */
  readonly handlers: Handlers;
  /** A thread died of an error nobody caught; the process cannot be trusted any more. */
  readonly onCrash: (error: AppError) => void;
}

/** Lends threads, each to one task at a time; starts them when needed, ends them when idle. */
export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #idle: OwnedThread[] = [];
  readonly #waiting: ((thread: OwnedThread) => void)[] = [];
  readonly #timers = new Map<OwnedThread, Timer>();
  #count = 0;
  #isClosed = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
  }

  get threadsMax(): number {
    return this.#options.threadsMax;
  }

  /** Runs `task` with a thread of its own, when there is one free. */
  async use<T>(task: (thread: WorkerThread) => Promise<T>): Promise<T> {
    const thread = await this.#take();
    try {
      return await task(thread);
    } finally {
      this.#give(thread);
    }
  }

  /** One call on any thread. */
  call<Result>(name: string, argument?: unknown): Promise<Result> {
    return this.use((thread) => thread.call<Result>(name, argument));
  }

  /** Ends the idle threads, and the others when their tasks end. */
  close(): void {
    this.#isClosed = true;
    for (const thread of this.#idle.splice(0)) this.#end(thread);
  }

  async #take(): Promise<OwnedThread> {
    const idle = this.#idle.pop();
    if (idle !== undefined) {
      clearTimeout(this.#timers.get(idle));
      return idle;
    }
    if (this.#count >= this.#options.threadsMax) {
      return new Promise((resolve) => this.#waiting.push(resolve));
    }
    this.#count += 1;
    const thread = this.#start();
    try {
      await thread.call("configure", this.#options.configuration());
    } catch (error) {
      this.#end(thread);
      throw error;
    }
    return thread;
  }

  #give(thread: OwnedThread): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next(thread);
      return;
    }
    if (this.#isClosed) {
      this.#end(thread);
      return;
    }
    this.#idle.push(thread);
    const timer = setTimeout(() => {
      if (this.#count <= (this.#options.keptThreads ?? 0)) return;
      this.#idle.splice(this.#idle.indexOf(thread), 1);
      this.#end(thread);
    }, this.#options.idleMs);
    timer.unref();
    this.#timers.set(thread, timer);
  }

  #end(thread: OwnedThread): void {
    clearTimeout(this.#timers.get(thread));
    this.#timers.delete(thread);
    this.#count -= 1;
    thread.terminate();
  }

  #start(): OwnedThread {
    const entry = this.#options.entry ?? "worker";
    const worker = new Worker(new URL(`./${entry}.ts`, import.meta.url).href);
    const channel = new ThreadChannel(
      (message) => worker.postMessage(message),
      this.#options.handlers,
    );
    worker.addEventListener("message", (event: MessageEvent<unknown>) => {
      channel.receive(event.data);
    });
    worker.addEventListener("error", (event: ErrorEvent) => {
      const message = `A worker thread died: ${event.message || describeError(event.error)}`;
      const error = new AppError("internal", message);
      channel.close(error);
      this.#options.onCrash(error);
    });
    return {
      call: (name, argument) => channel.call(name, argument),
      terminate: () => worker.terminate(),
    };
  }
}

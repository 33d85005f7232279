/**
 * The threads that answer pre-content events.
 *
 * This file and `fanotify-reader.ts` must lie in `src/` itself, as `workers.ts` says.
 *
 * @module
 */
import { close } from "../ffi/file.ts";
import { openWake, wake } from "../ffi/wake.ts";
import { AppError, describeError } from "./errors.ts";
import type { PassedRead, PassedWindow, ReaderOptions } from "./ondemand/fanotify/event-reader.ts";
import { cancel, makeCancelFlag } from "./util/cancel-flag.ts";

/** What comes from a thread; `reason` where it died. */
export type ReaderMessage =
  PassedRead | PassedWindow | { readonly kind: "ended"; readonly reason?: string };

export interface FanotifyReadersOptions extends Omit<
  ReaderOptions,
  "stopFlag" | "wake" | "thread"
> {
  readonly threads: number;
  readonly pass: (message: PassedRead | PassedWindow) => void;
  /** A thread died of an error nobody caught. */
  readonly onCrash: (error: AppError) => void;
}

export class FanotifyReaders {
  readonly #options: FanotifyReadersOptions;
  readonly #stopFlag = makeCancelFlag();
  readonly #wake = openWake();
  readonly #running = new Set<Worker>();
  readonly #allEnded = Promise.withResolvers<void>();

  constructor(options: FanotifyReadersOptions) {
    this.#options = options;
    for (let thread = 0; thread < options.threads; thread++) this.#start(thread);
  }

  /** Ends the threads, each behind the events it has taken. */
  async stop(): Promise<void> {
    cancel(this.#stopFlag);
    wake(this.#wake);
    await this.#allEnded.promise;
    close(this.#wake);
  }

  #start(thread: number): void {
    const { group, journalPath, packs, watches, plug, heldMax } = this.#options;
    const worker = new Worker(new URL("./fanotify-reader.ts", import.meta.url).href);
    this.#running.add(worker);
    worker.addEventListener("message", (event: MessageEvent<ReaderMessage>) => {
      if (event.data.kind === "ended") this.#end(worker, event.data.reason);
      else this.#options.pass(event.data);
    });
    worker.addEventListener("error", (event: ErrorEvent) => {
      this.#end(worker, event.message || describeError(event.error));
    });
    const shared = { group, journalPath, packs, watches, plug, heldMax };
    const own = { thread, wake: this.#wake, stopFlag: this.#stopFlag };
    worker.postMessage({ ...shared, ...own } satisfies ReaderOptions);
  }

  #end(worker: Worker, reason: string | undefined): void {
    worker.terminate();
    this.#running.delete(worker);
    if (this.#running.size === 0) this.#allEnded.resolve();
    if (reason !== undefined)
      this.#options.onCrash(new AppError("internal", `A fanotify thread died: ${reason}`));
  }
}

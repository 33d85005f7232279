/**
 * The threads that answer a FUSE file system.
 *
 * This file and `fuse-server.ts` must lie in `src/` itself, as `workers.ts` says.
 *
 * @module
 */
import { statfs } from "node:fs/promises";
import { AppError, describeError } from "./errors.ts";
import type { PassedRequest, ServerOptions } from "./ondemand/fuse/server.ts";
import { cancel, isCancelled, makeCancelFlag } from "./util/cancel-flag.ts";

/** What comes from a thread; `reason` where it died. */
export type ServerMessage =
  PassedRequest | { readonly kind: "ready" } | { readonly kind: "ended"; readonly reason?: string };

export interface FuseServersOptions extends Omit<ServerOptions, "stopFlag"> {
  readonly threads: number;
  /** Where the file system is mounted. */
  readonly mountPoint: string;
  readonly pass: (request: PassedRequest) => void;
  /** A thread died of an error nobody caught, or has lost the file system. */
  readonly onCrash: (error: AppError) => void;
}

const stopTimeoutMs = 2000;

export class FuseServers {
  readonly #options: FuseServersOptions;
  readonly #stopFlag = makeCancelFlag();
  readonly #running = new Set<Worker>();
  readonly #allEnded = Promise.withResolvers<void>();
  readonly #allReady = Promise.withResolvers<void>();
  #loading: number;

  constructor(options: FuseServersOptions) {
    this.#options = options;
    this.#loading = options.threads;
    for (let thread = 0; thread < options.threads; thread++) this.#start();
  }

  /**
   * When every thread answers, or one has died. The runtime loads them with the same few threads
   * that wait for its file system calls: who asks the file system before may keep it from starting.
   */
  get ready(): Promise<void> {
    return this.#allReady.promise;
  }

  /**
   * Ends the threads. Each sees that it is to end when it has answered a request, so the file
   * system is asked for its statistics, which the kernel never knows by itself, until all have.
   */
  async stop(): Promise<void> {
    await this.ready;
    cancel(this.#stopFlag);
    for (let asked = 0; asked < this.#options.threads && this.#running.size > 0; asked++) {
      const answer = statfs(this.#options.mountPoint).catch(() => undefined);
      await Promise.race([answer, this.#allEnded.promise]);
    }
    // Somebody may have mounted something else there: then the threads wait until the process ends.
    const { promise: timedOut, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, stopTimeoutMs);
    await Promise.race([timedOut, this.#allEnded.promise]);
    clearTimeout(timer);
    for (const worker of this.#running) worker.terminate();
  }

  #start(): void {
    const { channel, packs } = this.#options;
    const worker = new Worker(new URL("./fuse-server.ts", import.meta.url).href);
    this.#running.add(worker);
    worker.addEventListener("message", (event: MessageEvent<ServerMessage>) => {
      if (event.data.kind === "ended") this.#end(worker, event.data.reason);
      else if (event.data.kind === "ready") this.#loaded();
      else this.#options.pass(event.data);
    });
    worker.addEventListener("error", (event: ErrorEvent) => {
      this.#end(worker, event.message || describeError(event.error));
    });
    worker.postMessage({ channel, packs, stopFlag: this.#stopFlag } satisfies ServerOptions);
  }

  #loaded(): void {
    this.#loading -= 1;
    if (this.#loading === 0) this.#allReady.resolve();
  }

  #end(worker: Worker, reason: string | undefined): void {
    worker.terminate();
    this.#running.delete(worker);
    if (this.#running.size === 0) this.#allEnded.resolve();
    // One that is dead answers nobody, and nobody must wait for it.
    if (reason !== undefined) this.#allReady.resolve();
    const { mountPoint, onCrash } = this.#options;
    if (reason !== undefined) onCrash(new AppError("internal", `A FUSE thread died: ${reason}`));
    else if (!isCancelled(this.#stopFlag))
      onCrash(new AppError("unavailable", `Somebody unmounted or aborted "${mountPoint}"`));
  }
}

/**
 * The client of dedupd's control API, for `serve` and the commands.
 *
 * All methods reject with the AppError that dedupd answered, or with `unavailable` where it does
 * not answer (in time): it is away, or busy. They can be called again; nothing is lost by that.
 *
 * @module
 */
import { AppError, describeError, type ErrorCode } from "../errors.ts";
import {
  type DedupdEvents,
  type DedupdStatus,
  eventWaitMs,
  type Exposed,
  type ImageTrace,
  type PackStatus,
  type Prefetching,
  type PrefetchRequest,
  type TraceStored,
} from "./control.ts";

/** Answers come from memory, but the machine may be busy. */
const answerTimeoutMs = 10_000;
/** Opening the files of a pack and telling the kernel; with the backend `eager`, fetching all. */
const exposeTimeoutMs = 30_000;

export interface ControlCall {
  /** Instead of the method's own. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

interface Call extends ControlCall {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
}

export class ControlClient {
  readonly #socketPath: string;

  /** @param socketPath `socketPaths().dedupd` */
  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Something else will be asked for soon; does nothing where dedupd is not ours to start. */
  expectUse(): void {
    // It runs, or somebody else starts it.
  }

  /**
   * From when it resolves, reads of the path wait for missing bytes. Idempotent.
   *
   * @returns a path that EROFS takes for a device
   */
  async expose(packId: number, call: ControlCall = {}): Promise<string> {
    const path = `/packs/${packId}`;
    const timeoutMs = call.timeoutMs ?? exposeTimeoutMs;
    return (await this.#call<Exposed>({ method: "PUT", path, ...call, timeoutMs })).path;
  }

  /** Nobody has the pack mounted any more; its files may be removed then. Idempotent. */
  async withdraw(packId: number, call: ControlCall = {}): Promise<void> {
    await this.#call({ method: "DELETE", path: `/packs/${packId}`, ...call });
  }

  /** The packs that are exposed. */
  packs(call: ControlCall = {}): Promise<PackStatus[]> {
    return this.#call({ method: "GET", path: "/packs", ...call });
  }

  /** Rejects with `not_found` where the pack is not exposed. */
  pack(packId: number, call: ControlCall = {}): Promise<PackStatus> {
    return this.#call({ method: "GET", path: `/packs/${packId}`, ...call });
  }

  /** Rejects with `not_found` where nothing is known of the image. */
  trace(image: string, call: ControlCall = {}): Promise<ImageTrace> {
    return this.#call({ method: "GET", path: tracePath(image), ...call });
  }

  /** Takes the place of what was recorded. Rejects with `invalid_argument` for no trace. */
  putTrace(image: string, body: ImageTrace, call: ControlCall = {}): Promise<TraceStored> {
    return this.#call({ method: "PUT", path: tracePath(image), body, ...call });
  }

  /** Resolves when the pieces have been asked for, not when they are there. */
  prefetch(packId: number, body: PrefetchRequest, call: ControlCall = {}): Promise<Prefetching> {
    return this.#call({ method: "POST", path: `/packs/${packId}/prefetch`, body, ...call });
  }

  status(call: ControlCall = {}): Promise<DedupdStatus> {
    return this.#call({ method: "GET", path: "/status", ...call });
  }

  /**
   * What happened after event `after` (0: all that are kept); waits for something to happen, at
   * most `eventWaitMs`, and then resolves with no events. Go on with `last`.
   */
  events(after: number, call: ControlCall = {}): Promise<DedupdEvents> {
    const timeoutMs = call.timeoutMs ?? eventWaitMs + answerTimeoutMs;
    return this.#call({ method: "GET", path: `/events?after=${after}`, ...call, timeoutMs });
  }

  async #call<Answer>({ method, path, body, timeoutMs, signal }: Call): Promise<Answer> {
    const timeout = AbortSignal.timeout(timeoutMs ?? answerTimeoutMs);
    try {
      const response = await fetch(`http://dedupd${path}`, {
        unix: this.#socketPath,
        // A kept connection would be that of a dedupd that has stopped since, and hinder its stop.
        keepalive: false,
        method,
        signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
        ...(body !== undefined && {
          body: JSON.stringify(body),
          headers: { "content-type": "application/json" },
        }),
      });
      const answer = (await response.json()) as Answer;
      if (!response.ok) throw revive(answer as Refusal, response.status);
      return answer;
    } catch (error) {
      if (error instanceof AppError) throw error;
      if (signal?.aborted === true) throw new AppError("cancelled", "The call was given up");
      throw this.#unavailable(timeout.aborted ? "it does not answer" : describeError(error), error);
    }
  }

  #unavailable(problem: string, cause: unknown): AppError {
    const message = `Cannot ask dedupd at "${this.#socketPath}": ${problem}`;
    return new AppError("unavailable", message, {
      cause,
      remedy: "see whether `dedup-snapshotter dedupd` runs, and its log",
    });
  }
}

function tracePath(image: string): string {
  return `/traces/${encodeURIComponent(image)}`;
}

/** What an answer that is no success says (http/errors.ts). */
export interface Refusal {
  readonly error?: string;
  readonly code?: ErrorCode;
  readonly remedy?: string;
}

/** The error as it was on the other side. */
export function revive({ error, code, remedy }: Refusal, status: number): AppError {
  const message = error ?? `the answer was ${status}`;
  return new AppError(code ?? "internal", message, remedy === undefined ? {} : { remedy });
}

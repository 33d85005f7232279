/**
 * Whether a server can be connected to at all, found out before a request is sent.
 *
 * A server may take half a minute for its answer, but not to take a connection; fetch has one
 * time-out for both. So a server that was not heard of lately is connected to first, and left for
 * the next mirror soon. Servers that answer are not asked this way again.
 *
 * @module
 */
import { connect as connectSocket } from "node:net";
import type { Clock } from "./clock.ts";
import type { RegistryLimits } from "./limits.ts";
import { RegistryError, type Subject } from "./registry-error.ts";

const heardOfMs = 60_000;
/** Servers remembered; the oldest go first. */
const serversMax = 1024;

/** Resolves once connected, rejects if refused or aborted; the connection is closed again. */
export type Connect = (host: string, port: number, signal: AbortSignal) => Promise<void>;

export function connectOnce(host: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ host, port });
    const finish = (settle: () => void) => {
      socket.destroy();
      settle();
    };
    socket.once("connect", () => finish(resolve));
    socket.once("error", (error) => finish(() => reject(error)));
    const abort = () => finish(() => reject(signal.reason as Error));
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
  });
}

export interface ConnectCheckDependencies {
  readonly clock: Clock;
  readonly limits: RegistryLimits;
  /** Undefined where a proxy connects for us. */
  readonly connect: Connect | undefined;
}

export class ConnectCheck {
  readonly #dependencies: ConnectCheckDependencies;
  readonly #heardOfMs = new Map<string, number>();

  constructor(dependencies: ConnectCheckDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Rejects with `unavailable` where no connection comes about in time, and as `connect` does.
   *
   * @param address connected to in place of the name
   */
  async check(url: URL, address: string | undefined, subject: Subject, signal: AbortSignal) {
    const { clock, limits, connect } = this.#dependencies;
    const heardMs = this.#heardOfMs.get(url.host);
    const isKnown = heardMs !== undefined && clock.nowMs() - heardMs < heardOfMs;
    if (isKnown || connect === undefined) return;
    const host = address ?? url.hostname.replace(/^\[|\]$/g, "");
    const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
    const limit = new AbortController();
    const problem = `cannot be connected to within ${limits.connectTimeoutMs} ms`;
    const cancel = clock.after(limits.connectTimeoutMs, () =>
      limit.abort(new RegistryError("unavailable", subject, problem)),
    );
    try {
      await connect(host, port, AbortSignal.any([limit.signal, signal]));
      this.note(url);
    } finally {
      cancel();
    }
  }

  /** A server was heard of. */
  note({ host }: URL): void {
    this.#heardOfMs.delete(host);
    this.#heardOfMs.set(host, this.#dependencies.clock.nowMs());
    const [oldest] = this.#heardOfMs.keys();
    if (this.#heardOfMs.size > serversMax && oldest !== undefined) this.#heardOfMs.delete(oldest);
  }
}

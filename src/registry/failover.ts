/**
 * Asking the servers of a registry one after the other, anew for each request.
 *
 * A server that failed is asked after the others for a while; one that wants to be left alone
 * (`Retry-After`) is asked by nobody until then. When all have failed, those that may
 * do better later are asked again, after a pause that grows and is partly random, so that nodes
 * which lost a registry at the same moment do not come back at the same moment.
 *
 * @module
 */
import { pause, type Clock } from "./clock.ts";
import type { Capability, RegistryHost } from "./hosts.ts";
import type { RegistryLimits } from "./limits.ts";
import { RegistryError, toRegistryError, type Subject } from "./registry-error.ts";

export interface FailoverDependencies {
  readonly clock: Clock;
  readonly limits: RegistryLimits;
}

export class Failover {
  readonly #clock: Clock;
  readonly #limits: RegistryLimits;
  /** Until when a server rests, by its authority. */
  readonly #restsUntilMs = new Map<string, number>();
  /** Until when a server wants to be left alone, and what it said. */
  readonly #closed = new Map<string, { readonly untilMs: number; readonly error: RegistryError }>();

  constructor({ clock, limits }: FailoverDependencies) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /**
   * The result of the first server that has one.
   *
   * Where none has, rejects with the error of the last one in the configured order, which is the
   * registry itself; the others are named in its message.
   *
   * @param hosts in the order in which to ask them
   * @param reference what it is about
   */
  async run<T>(
    hosts: readonly RegistryHost[],
    reference: string,
    attempt: (host: RegistryHost, subject: Subject) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const errors = new Map<RegistryHost, RegistryError>();
    const last = hosts.at(-1);
    let remaining = hosts;
    for (let round = 1; ; round++) {
      for (const host of this.#ordered(remaining)) {
        const subject = { host: host.authority, reference };
        try {
          this.#checkOpen(host, subject);
          const result = await attempt(host, subject);
          this.#restsUntilMs.delete(host.authority);
          return result;
        } catch (error) {
          errors.set(host, this.#judge(host, toRegistryError(error, subject)));
        }
      }
      remaining = remaining.filter((host) => errors.get(host)?.isTransient === true);
      // What the registry itself does not have, no mirror will have later.
      const isAbsent = last !== undefined && errors.get(last)?.code === "not_found";
      const delayMs = isAbsent ? undefined : this.#delayMs(round, remaining, errors);
      if (delayMs === undefined) throw summary(hosts, errors);
      await pause(this.#clock, delayMs, signal);
    }
  }

  /** Lets a server rest that broke off in the middle of a body. */
  noteFailure(host: RegistryHost): void {
    this.#restsUntilMs.set(host.authority, this.#clock.nowMs() + this.#limits.restMs);
  }

  #judge(host: RegistryHost, error: RegistryError): RegistryError {
    if (error.code === "cancelled") throw error;
    if (error.isTransient || error.code === "data_loss") this.noteFailure(host);
    this.#noteClosed(host, error);
    return error;
  }

  /** All requests are meant by it (RFC 9110, section 10.2.3), but one of us asks again at times. */
  #noteClosed({ authority }: RegistryHost, error: RegistryError): void {
    const { retryAfterMs = 0, isTransient } = error;
    if (!isTransient || retryAfterMs === 0) return;
    const untilMs = this.#clock.nowMs() + Math.min(retryAfterMs, this.#limits.retryAfterMaxMs);
    if (untilMs > (this.#closed.get(authority)?.untilMs ?? 0)) {
      this.#closed.set(authority, { untilMs, error });
    }
  }

  /** @throws RegistryError what the server said when it wanted to be left alone until later */
  #checkOpen({ authority }: RegistryHost, subject: Subject): void {
    const closed = this.#closed.get(authority);
    if (closed === undefined) return;
    const retryAfterMs = closed.untilMs - this.#clock.nowMs();
    if (retryAfterMs <= 0) {
      this.#closed.delete(authority);
      return;
    }
    const { code, problem, status, remedy } = closed.error;
    throw new RegistryError(code, subject, problem, {
      retryAfterMs,
      ...(status === undefined ? {} : { status }),
      ...(remedy === undefined ? {} : { remedy }),
    });
  }

  #ordered(hosts: readonly RegistryHost[]): RegistryHost[] {
    const nowMs = this.#clock.nowMs();
    const rests = ({ authority }: RegistryHost) =>
      (this.#restsUntilMs.get(authority) ?? nowMs) > nowMs;
    return [...hosts.filter((host) => !rests(host)), ...hosts.filter(rests)];
  }

  /** How long to wait before the next round; undefined where there is none. */
  #delayMs(
    round: number,
    remaining: readonly RegistryHost[],
    errors: ReadonlyMap<RegistryHost, RegistryError>,
  ): number | undefined {
    if (remaining.length === 0 || round >= this.#limits.roundsMax) return undefined;
    // The least patient pause is enough: another server may be ready by then.
    const asked = remaining.map((host) => errors.get(host)?.retryAfterMs ?? 0);
    const askedMs = Math.min(...asked);
    if (askedMs > this.#limits.retryAfterMaxMs) return undefined;
    return Math.max(askedMs, backoffMs(round, this.#clock, this.#limits));
  }
}

/** Half of the pause is certain, half random. */
export function backoffMs(round: number, clock: Clock, limits: RegistryLimits): number {
  const fullMs = Math.min(limits.backoffMaxMs, limits.backoffMs * 2 ** (round - 1));
  return fullMs * (0.5 + clock.random() / 2);
}

/** The servers that have a capability; rejects where hosts.toml leaves none. */
export function hostsFor(
  hosts: readonly RegistryHost[],
  capability: Capability,
  subject: Subject,
): readonly RegistryHost[] {
  const able = hosts.filter(({ capabilities }) => capabilities.has(capability));
  if (able.length > 0) return able;
  throw new RegistryError("failed_precondition", subject, `no server may ${capability}`, {
    remedy: `give a server of hosts.toml the capability "${capability}"`,
  });
}

function summary(
  hosts: readonly RegistryHost[],
  errors: ReadonlyMap<RegistryHost, RegistryError>,
): RegistryError {
  const all = hosts.flatMap((host) => errors.get(host) ?? []);
  const last = all.at(-1);
  if (last === undefined) throw new TypeError("no server was asked");
  if (all.length === 1) return last;
  const before = all.slice(0, -1).map(({ host, problem }) => `${host} ${problem}`);
  return last.extended(`; before that ${before.join("; ")}`);
}

/**
 * One request, one answer: no redirects, no credentials, no second try.
 *
 * `fetch` of the runtime does the protocol. It never decodes bodies (`decompress: false`), keeps
 * connections apart by their TLS settings, and takes proxies from the usual environment variables.
 *
 * @module
 */
import { isIP } from "node:net";
import { AppError, describeError } from "../errors.ts";
import { version } from "../version.ts";
import { Body } from "./body.ts";
import type { Clock } from "./clock.ts";
import { ConnectCheck, type Connect } from "./connect-check.ts";
import { fetchError } from "./fetch-error.ts";
import type { RegistryLimits } from "./limits.ts";
import { RegistryError, type Subject } from "./registry-error.ts";
import { Slots } from "./slots.ts";

/** PEM texts. */
export interface TlsSettings {
  readonly ca: string;
  readonly certificates: readonly string[];
  readonly keys: readonly string[];
  readonly skipVerify: boolean;
}

/** A body that can be sent again. */
export interface RequestContent {
  readonly sizeBytes: number;
  readonly open: () => AsyncIterable<Uint8Array>;
}

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH";
  readonly url: URL;
  readonly headers: readonly (readonly [string, string])[];
  readonly tls: TlsSettings;
  readonly subject: Subject;
  /** Connect to this address instead of looking the name up. */
  readonly address?: string;
  readonly content?: RequestContent;
  readonly signal?: AbortSignal;
}

export interface HttpAnswer {
  /** That of the request: what a relative Location is relative to. */
  readonly url: URL;
  readonly status: number;
  readonly headers: Headers;
  /** Must be read or discarded: until then it occupies one of the server's connections. */
  readonly body: Body;
}

export interface HttpDependencies {
  readonly clock: Clock;
  readonly limits: RegistryLimits;
  readonly connect: Connect | undefined;
}

export class HttpClient {
  readonly #dependencies: HttpDependencies;
  readonly #slots: Slots;
  readonly #connects: ConnectCheck;

  constructor(dependencies: HttpDependencies) {
    this.#dependencies = dependencies;
    this.#slots = new Slots(dependencies.limits.connectionsPerServer);
    this.#connects = new ConnectCheck(dependencies);
  }

  /** Rejects with a RegistryError where there is no answer, of whatever status. */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    const { clock, limits } = this.#dependencies;
    const { subject, signal } = request;
    const abort = new AbortController();
    let release: (() => void) | undefined;
    // Also where nobody reads the body any more, its place becomes free.
    const cancel = () => {
      abort.abort(cancelled(subject));
      release?.();
    };
    if (signal?.aborted === true) throw cancelled(subject);
    signal?.addEventListener("abort", cancel, { once: true });
    const onEnd = () => {
      signal?.removeEventListener("abort", cancel);
      release?.();
    };
    try {
      release = await this.#slots.take(serverOf(request), abort.signal);
      await this.#connects.check(request.url, request.address, subject, abort.signal);
      const response = await this.#fetch(request, abort);
      this.#connects.note(request.url);
      const context = { subject, clock, limits, abort, onEnd };
      return {
        url: request.url,
        status: response.status,
        headers: response.headers,
        body: new Body(response.body, context),
      };
    } catch (error) {
      onEnd();
      throw fetchError(error, subject, abort.signal);
    }
  }

  async #fetch(request: HttpRequest, abort: AbortController): Promise<Response> {
    const { clock, limits } = this.#dependencies;
    const { url, subject, content } = request;
    const expire = () => {
      const problem = `did not answer within ${limits.answerTimeoutMs} ms`;
      abort.abort(new RegistryError("unavailable", subject, problem));
    };
    let stopTimer = clock.after(limits.answerTimeoutMs, expire);
    let isAnswered = false;
    // Sending takes as long as it takes; each piece that the server accepts is a sign of life.
    const restart = () => {
      // A server may answer before it was sent everything.
      if (isAnswered) return;
      stopTimer();
      stopTimer = clock.after(limits.answerTimeoutMs, expire);
    };
    // What cannot be read here is not the server's failure, and another one would not help.
    const fail = (error: unknown) => {
      const problem = `the content to send cannot be read: ${describeError(error)}`;
      const own = new RegistryError("internal", subject, problem, { cause: error });
      abort.abort(error instanceof AppError ? error : own);
    };
    try {
      return await fetch(connectUrl(request), {
        method: request.method,
        headers: headersOf(request),
        redirect: "manual",
        decompress: false,
        signal: abort.signal,
        ...(url.protocol === "https:" ? { tls: tlsOf(request) } : {}),
        ...(content === undefined ? {} : { body: watched(content, restart, fail) }),
      });
    } finally {
      isAnswered = true;
      stopTimer();
    }
  }
}

export function cancelled(subject: Subject): RegistryError {
  return new RegistryError("cancelled", subject, "the call was cancelled");
}

/**
 * Whose connections are counted. What is sent may come from the same server, and must not wait for
 * the place of the request that it belongs to: so uploads are counted apart.
 */
function serverOf({ url, content }: HttpRequest): string {
  return content === undefined ? url.origin : `${url.origin} uploads`;
}

/** What the caller wants to be sent, and what every request has. */
function headersOf({ headers, url, address, content }: HttpRequest): Headers {
  const all = new Headers([
    ["User-Agent", `dedup-snapshotter/${version}`],
    ["Accept-Encoding", "identity"],
  ]);
  for (const [name, value] of headers) all.append(name, value);
  if (address !== undefined) all.set("Host", url.host);
  if (content !== undefined) all.set("Content-Length", String(content.sizeBytes));
  return all;
}

function connectUrl({ url, address }: HttpRequest): string {
  if (address === undefined) return url.href;
  const pinned = new URL(url);
  pinned.hostname = isIP(address) === 6 ? `[${address}]` : address;
  return pinned.href;
}

function tlsOf({ tls, url, address }: HttpRequest): NonNullable<BunFetchRequestInit["tls"]> {
  const name = url.hostname.replace(/^\[|\]$/g, "");
  return {
    ca: tls.ca,
    rejectUnauthorized: !tls.skipVerify,
    ...(address !== undefined && isIP(name) === 0 ? { serverName: name } : {}),
    ...(tls.certificates.length === 0 ? {} : { cert: [...tls.certificates], key: [...tls.keys] }),
  };
}

async function* watched(
  { open }: RequestContent,
  onPiece: () => void,
  onError: (error: unknown) => void,
): AsyncGenerator<Uint8Array, void> {
  try {
    for await (const piece of open()) {
      onPiece();
      yield piece;
    }
  } catch (error) {
    onError(error);
    throw error;
  }
  onPiece();
}

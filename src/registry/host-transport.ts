/**
 * A request to one server of a registry, with all that belongs to it: who we are, where it sends us
 * on to, and what its status means.
 *
 * @module
 */
import type { Authorizer, Rights } from "./authorizer.ts";
import { isTlsFailure } from "./fetch-error.ts";
import { cancelled, type HttpAnswer, type HttpClient, type HttpRequest } from "./http.ts";
import { isMirror, type RegistryHost } from "./hosts.ts";
import { errorBodyBytesMax } from "./limits.ts";
import type { Lookup } from "./link-local.ts";
import { followRedirects } from "./redirects.ts";
import type { Subject } from "./registry-error.ts";
import { statusError } from "./status-error.ts";

export interface HostRequest {
  readonly method: HttpRequest["method"];
  /** Below `/v2/<repository>/`, such as `blobs/sha256:…`; or where an upload was sent on to. */
  readonly target: string | URL;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: HttpRequest["headers"];
  readonly content?: NonNullable<HttpRequest["content"]>;
  readonly rights: Rights;
  /** The host of the reference, which a mirror is told. */
  readonly registry: string;
}

export interface HostTransportDependencies {
  readonly http: HttpClient;
  readonly authorizer: Authorizer;
  readonly lookup: Lookup | undefined;
}

export class HostTransport {
  readonly #dependencies: HostTransportDependencies;
  /** Servers that turned out to speak no TLS, of those for which that is allowed. */
  readonly #plain = new Set<string>();

  constructor(dependencies: HostTransportDependencies) {
    this.#dependencies = dependencies;
  }

  /** Resolves with an answer of a status below 400; rejects for all others. */
  async send(
    host: RegistryHost,
    request: HostRequest,
    subject: Subject,
    signal?: AbortSignal,
  ): Promise<HttpAnswer> {
    const answer = await this.#withScheme(host, (scheme) =>
      this.#authorized(host, scheme, request, subject, signal),
    );
    if (answer.status < 400) return answer;
    const body = await answer.body.text(errorBodyBytesMax);
    throw statusError(subject, answer.status, answer.headers, body);
  }

  /** The address at which a server's own requests begin, as far as that is known. */
  origin(host: RegistryHost): string {
    const isPlain =
      host.scheme === "http" && (!host.mayFallBack || this.#plain.has(host.authority));
    return `${isPlain ? "http" : "https"}://${host.authority}`;
  }

  async #withScheme<T>(host: RegistryHost, task: (origin: string) => Promise<T>): Promise<T> {
    const origin = this.origin(host);
    try {
      return await task(origin);
    } catch (error) {
      const mayTryPlain = host.mayFallBack && origin.startsWith("https:") && isTlsFailure(error);
      if (!mayTryPlain) throw error;
      const answer = await task(`http://${host.authority}`);
      // Not before: a server of TLS may have reset the connection, too.
      this.#plain.add(host.authority);
      return answer;
    }
  }

  /** Asks a second time where the first answer says what is wanted, or that a token has ended. */
  async #authorized(
    host: RegistryHost,
    origin: string,
    request: HostRequest,
    subject: Subject,
    signal: AbortSignal | undefined,
  ): Promise<HttpAnswer> {
    const { authorizer } = this.#dependencies;
    const { rights } = request;
    const url = urlOf(host, origin, request);
    for (let isSecond = false; ; isSecond = true) {
      // An upload may be sent on to a storage service, which is none of the registry.
      const isOwn = url.origin === origin;
      const header = isOwn ? authorizer.header(host, rights, subject) : undefined;
      const sent = await unlessCancelled(header, subject, signal);
      const { answer, isForeign } = await this.#follow(host, url, request, isOwn, sent, {
        subject,
        ...(signal === undefined ? {} : { signal }),
      });
      if (answer.status !== 401 || isSecond || isForeign || !isOwn) return answer;
      const learning = authorizer.learn(host, rights, answer.headers, origin, sent);
      const isNew = await unlessCancelled(learning, subject, signal).catch(async (error) => {
        await answer.body.discard();
        throw error;
      });
      if (isNew !== true) return answer;
      await answer.body.discard();
    }
  }

  #follow(
    host: RegistryHost,
    url: URL,
    { method, headers = [], content }: HostRequest,
    isOwn: boolean,
    authorization: string | undefined,
    call: Pick<HttpRequest, "subject" | "signal">,
  ) {
    const first: HttpRequest = {
      ...call,
      method,
      url,
      tls: host.tls,
      headers: [
        ...headers,
        ...(isOwn ? host.headers : []),
        ...(authorization === undefined ? [] : [["Authorization", authorization] as const]),
      ],
      ...(content === undefined ? {} : { content }),
    };
    const { http, lookup } = this.#dependencies;
    return followRedirects(http, first, isOwn, lookup);
  }
}

/** A token is asked for on behalf of all who wait for it: one of them may leave before it comes. */
function unlessCancelled<T>(
  pending: Promise<T> | undefined,
  subject: Subject,
  signal: AbortSignal | undefined,
): Promise<T | undefined> {
  if (pending === undefined || signal === undefined) return Promise.resolve(pending);
  return new Promise((resolve, reject) => {
    const leave = () => reject(cancelled(subject));
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave, { once: true });
    const done = () => signal.removeEventListener("abort", leave);
    void pending.then(resolve, reject).finally(done);
  });
}

function urlOf(
  host: RegistryHost,
  origin: string,
  { target, query = {}, rights, registry }: HostRequest,
): URL {
  const isMirrored = typeof target === "string" && isMirror(host, registry);
  // containerd: (*request).addNamespace in core/remotes/docker/resolver.go.
  const parameters = new URLSearchParams({ ...query, ...(isMirrored ? { ns: registry } : {}) });
  const url =
    typeof target === "string"
      ? new URL(`${origin}${host.path}/${rights.repository}/${target}`)
      : new URL(target);
  // As text: what is there may be signed, letter by letter.
  if (parameters.size > 0) url.search += `${url.search === "" ? "?" : "&"}${parameters.toString()}`;
  return url;
}

/**
 * Following where a registry sends us on to, without taking anything along.
 *
 * Another origin gets neither Authorization, nor headers of hosts.toml, nor a client certificate,
 * also not after it sent us back. (It is verified as the registry is: a redirect carries no secret
 * of ours, and what comes is hashed.)
 *
 * @module
 */
import type { HttpAnswer, HttpClient, HttpRequest } from "./http.ts";
import { redirectsMax } from "./limits.ts";
import { checkedAddress, type Lookup } from "./link-local.ts";
import { redactUrl, RegistryError, type Subject } from "./registry-error.ts";

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** What another origin may see. */
const harmlessHeaders: ReadonlySet<string> = new Set(["accept", "range"]);

export interface FollowedAnswer {
  readonly answer: HttpAnswer;
  /** Whether it is the answer of another origin, whose 401 is not the registry's. */
  readonly isForeign: boolean;
}

/**
 * Rejects with `failed_precondition` where a redirect leads in a loop, to a forbidden address, or
 * out of TLS; only GET and HEAD are sent on.
 *
 * @param isOwn whether the first URL is one of the configured server's
 */
export async function followRedirects(
  http: HttpClient,
  first: HttpRequest,
  isOwn: boolean,
  lookup: Lookup | undefined,
): Promise<FollowedAnswer> {
  let request = isOwn ? first : await strip(first, first.url, lookup);
  let isForeign = !isOwn;
  for (let hops = 0; ; hops++) {
    const answer = await http.send(request);
    if (!redirectStatuses.has(answer.status)) return { answer, isForeign };
    await answer.body.discard();
    const { subject } = first;
    if (hops === redirectsMax) throw refused(subject, `redirects more than ${redirectsMax} times`);
    const url = nextUrl(request, answer.headers.get("location"));
    isForeign ||= url.origin !== first.url.origin;
    request = isForeign ? await strip(first, url, lookup) : { ...first, url };
  }
}

function nextUrl({ method, url, subject }: HttpRequest, location: string | null): URL {
  if (method !== "GET" && method !== "HEAD") throw refused(subject, `redirects a ${method}`);
  return locationUrl(location, url, subject);
}

/** Where a header `Location` leads; the user and password in it, if any, are not used. */
export function locationUrl(location: string | null, base: URL, subject: Subject): URL {
  if (location === null || !URL.canParse(location, base.href)) {
    throw refused(subject, "redirects to no URL");
  }
  const url = new URL(location, base);
  url.username = "";
  url.password = "";
  url.hash = "";
  const isSafe =
    url.protocol === "https:" || (url.protocol === "http:" && base.protocol === "http:");
  if (isSafe) return url;
  throw refused(subject, `leads out of TLS, to ${redactUrl(url)}`);
}

async function strip(
  first: HttpRequest,
  url: URL,
  lookup: Lookup | undefined,
): Promise<HttpRequest> {
  const address = await checkedAddress(url, first.subject, lookup);
  const { tls, headers } = first;
  return {
    ...first,
    url,
    headers: headers.filter(([name]) => first.content !== undefined || isHarmless(name)),
    tls: { ...tls, certificates: [], keys: [] },
    ...(address === undefined ? {} : { address }),
  };
}

function isHarmless(name: string): boolean {
  return harmlessHeaders.has(name.toLowerCase());
}

function refused(subject: Subject, problem: string): RegistryError {
  return new RegistryError("failed_precondition", subject, problem, {
    remedy: "correct the registry's address, or how the proxy in front of it names itself",
  });
}

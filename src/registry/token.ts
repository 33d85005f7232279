/**
 * Bearer tokens: where a registry says they are given out, and only as long as they are good
 * (distribution's docs/content/spec/auth: token.md and oauth.md).
 *
 * @module
 */
import { z } from "zod";
import type { Clock } from "./clock.ts";
import type { Credentials } from "./docker-config.ts";
import type { HttpClient, HttpRequest } from "./http.ts";
import { tokenBodyBytesMax, tokensMax } from "./limits.ts";
import { RegistryError, type Subject } from "./registry-error.ts";
import { statusError } from "./status-error.ts";

/** Who asks for which rights; together they are the key under which a token is kept. */
export interface TokenRequest {
  readonly realm: URL;
  readonly service: string | undefined;
  readonly scopes: readonly string[];
  /** The server for which the token is, whose credentials are used. */
  readonly authority: string;
}

export type FindCredentials = (authority: string) => Promise<Credentials | undefined>;

interface Token {
  readonly text: string;
  readonly untilMs: number;
}

/** What was asked for, once for all who wait for it, and what came. */
interface Entry {
  readonly pending: Promise<Token>;
  token: Token | undefined;
}

/** What a server says nothing about lasts a minute; less is not to be said (token.md). */
const lifetimeSecondsMin = 60;
/** A token that is about to end could end on its way. */
const usedPart = 0.9;
const clientId = "dedup-snapshotter";

const answerSchema = z.object({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().optional(),
});

/** How the request for a token travels: TLS settings and a checked address. */
export type TokenRoute = Pick<HttpRequest, "tls" | "address">;

export class TokenSource {
  readonly #http: HttpClient;
  readonly #clock: Clock;
  readonly #credentials: FindCredentials;
  /** The oldest first. */
  readonly #tokens = new Map<string, Entry>();

  constructor(http: HttpClient, clock: Clock, credentials: FindCredentials) {
    this.#http = http;
    this.#clock = clock;
    this.#credentials = credentials;
  }

  /** A token that is still good; asks for one only where none is known. */
  async get(
    request: TokenRequest,
    subject: Subject,
    route: () => Promise<TokenRoute>,
  ): Promise<string> {
    const key = keyOf(request);
    const known = this.#tokens.get(key);
    const isGood = known?.token === undefined || known.token.untilMs > this.#clock.nowMs();
    if (known !== undefined && isGood) return (await known.pending).text;
    return (await this.#begin(key, this.#ask(request, subject, route))).text;
  }

  /** Takes a token out of use that was refused; another one, which came since, stays. */
  forget(request: TokenRequest, text: string): void {
    const key = keyOf(request);
    if (this.#tokens.get(key)?.token?.text === text) this.#tokens.delete(key);
  }

  /** Keeps what was asked for until it fails. */
  async #begin(key: string, pending: Promise<Token>): Promise<Token> {
    const entry: Entry = { pending, token: undefined };
    this.#tokens.delete(key);
    this.#tokens.set(key, entry);
    const [oldest] = this.#tokens.keys();
    if (this.#tokens.size > tokensMax && oldest !== undefined) this.#tokens.delete(oldest);
    try {
      entry.token = await pending;
      return entry.token;
    } catch (error) {
      if (this.#tokens.get(key) === entry) this.#tokens.delete(key);
      throw error;
    }
  }

  async #ask(
    request: TokenRequest,
    subject: Subject,
    route: () => Promise<TokenRoute>,
  ): Promise<Token> {
    const credentials = await this.#credentials(request.authority);
    const startMs = this.#clock.nowMs();
    const realm = { host: request.realm.host, reference: subject.reference };
    const common = { ...(await route()), subject: realm };
    const answer = await this.#http.send(
      credentials?.kind === "identity"
        ? { ...common, ...exchange(request, credentials.token) }
        : { ...common, ...ask(request, credentials) },
    );
    if (answer.status !== 200) {
      const text = await answer.body.text(tokenBodyBytesMax);
      throw statusError(realm, answer.status, answer.headers, text);
    }
    const body = await answer.body.bytes(tokenBodyBytesMax);
    return readToken(body, startMs, realm);
  }
}

function keyOf({ authority, realm, service, scopes }: TokenRequest): string {
  return JSON.stringify([authority, realm.href, service, scopes]);
}

type Message = Pick<HttpRequest, "method" | "url" | "headers" | "content">;

/** token.md: GET, with a name and a password or without. */
function ask({ realm, service, scopes }: TokenRequest, credentials?: Credentials): Message {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  if (credentials?.kind !== "password") return { method: "GET", url, headers: [] };
  return { method: "GET", url, headers: [["Authorization", basicHeader(credentials)]] };
}

/** oauth.md: an identity token is a refresh token. */
function exchange({ realm, service, scopes }: TokenRequest, identity: string): Message {
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    refresh_token: identity,
    client_id: clientId,
    service: service ?? "",
    scope: scopes.join(" "),
  });
  const bytes = Buffer.from(form.toString());
  const open = async function* () {
    yield bytes;
  };
  const headers = [["Content-Type", "application/x-www-form-urlencoded"]] as const;
  return { method: "POST", url: realm, headers, content: { sizeBytes: bytes.length, open } };
}

/** RFC 7617, in UTF-8. */
export function basicHeader({ username, password }: Credentials & { kind: "password" }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

function readToken(body: Uint8Array, startMs: number, subject: Subject): Token {
  let answer: z.infer<typeof answerSchema> | undefined;
  try {
    answer = answerSchema.parse(JSON.parse(new TextDecoder().decode(body)));
  } catch {
    throw new RegistryError("unavailable", subject, "sent no JSON with a token");
  }
  const text = answer.token || answer.access_token || "";
  // It goes into a header.
  if (!/^[\x21-\x7e]+$/.test(text)) {
    throw new RegistryError("permission_denied", subject, "gave out no token");
  }
  const seconds = Math.max(lifetimeSecondsMin, answer.expires_in ?? 0);
  return { text, untilMs: startMs + seconds * 1000 * usedPart };
}

/**
 * What each server wants to be shown, and what we show it.
 *
 * Nothing is shown unasked: the first request to a repository goes without, its 401 says how. From
 * then on it is known, per server and rights, until it is refused.
 *
 * @module
 */
import { parseChallenges } from "./challenge.ts";
import { checkedAddress, type Lookup } from "./link-local.ts";
import type { RegistryHost } from "./hosts.ts";
import { tokensMax } from "./limits.ts";
import type { Subject } from "./registry-error.ts";
import {
  basicHeader,
  type TokenSource,
  type FindCredentials,
  type TokenRequest,
  type TokenRoute,
} from "./token.ts";

/** The rights that a request needs. */
export interface Rights {
  readonly repository: string;
  readonly actions: "pull" | "pull,push";
  /** A repository to be read besides. */
  readonly mountFrom?: string;
}

/** What was asked for: a fixed header, or a token. */
type Demand =
  | { readonly kind: "header"; readonly header: string }
  | { readonly kind: "token"; readonly request: TokenRequest };

export interface AuthorizerDependencies {
  readonly tokens: TokenSource;
  readonly credentials: FindCredentials;
  readonly lookup: Lookup | undefined;
}

export class Authorizer {
  readonly #dependencies: AuthorizerDependencies;
  /** The oldest first. */
  readonly #demands = new Map<string, Demand>();

  constructor(dependencies: AuthorizerDependencies) {
    this.#dependencies = dependencies;
  }

  /** The header `Authorization` for a request, as far as it is known that one is wanted. */
  async header(host: RegistryHost, rights: Rights, subject: Subject): Promise<string | undefined> {
    const demand = this.#demands.get(keyOf(host, rights));
    if (demand === undefined || demand.kind === "header") return demand?.header;
    const { request } = demand;
    const route = () => this.#route(host, request.realm, subject);
    return `Bearer ${await this.#dependencies.tokens.get(request, subject, route)}`;
  }

  /**
   * Learns from a 401; false where there is nothing else to show than what was sent.
   *
   * @param origin of the request that was refused
   * @param sent its header
   */
  async learn(
    host: RegistryHost,
    rights: Rights,
    answer: Headers,
    origin: string,
    sent: string | undefined,
  ): Promise<boolean> {
    const key = keyOf(host, rights);
    const demand = await this.#demand(host, rights, answer, origin);
    if (demand === undefined || (demand.kind === "header" && demand.header === sent)) return false;
    this.#demands.delete(key);
    this.#demands.set(key, demand);
    const [oldest] = this.#demands.keys();
    if (this.#demands.size > tokensMax && oldest !== undefined) this.#demands.delete(oldest);
    if (demand.kind === "token" && sent?.startsWith("Bearer ") === true) {
      this.#dependencies.tokens.forget(demand.request, sent.slice("Bearer ".length));
    }
    return true;
  }

  async #demand(
    { authority }: RegistryHost,
    rights: Rights,
    answer: Headers,
    origin: string,
  ): Promise<Demand | undefined> {
    const challenges = parseChallenges(answer.get("www-authenticate") ?? "");
    const bearer = challenges.find(({ scheme }) => scheme === "bearer")?.parameters;
    const realm = readRealm(bearer?.get("realm"), origin);
    const credentials = await this.#dependencies.credentials(authority);
    if (bearer !== undefined && realm !== undefined) {
      if (credentials?.kind === "bearer") {
        return { kind: "header", header: `Bearer ${credentials.token}` };
      }
      const scopes = scopesOf(bearer.get("scope"), rights);
      return {
        kind: "token",
        request: { realm, service: bearer.get("service"), scopes, authority },
      };
    }
    const isBasic = challenges.some(({ scheme }) => scheme === "basic");
    if (!isBasic || credentials?.kind !== "password") return undefined;
    return { kind: "header", header: basicHeader(credentials) };
  }

  /** A realm elsewhere is the registry's word, so it must not lead to a metadata service. */
  async #route(
    { authority, tls }: RegistryHost,
    realm: URL,
    subject: Subject,
  ): Promise<TokenRoute> {
    if (realm.host === authority) return { tls };
    const address = await checkedAddress(realm, subject, this.#dependencies.lookup);
    const ownTls = { ...tls, certificates: [], keys: [] };
    // Credentials go there: what is not verified at the registry is verified here.
    return { tls: { ...ownTls, skipVerify: false }, ...(address === undefined ? {} : { address }) };
  }
}

function keyOf({ authority }: RegistryHost, rights: Rights): string {
  return JSON.stringify([authority, rights.repository, rights.actions, rights.mountFrom]);
}

/** Over TLS, unless the registry itself is plain: a password must not go out in the clear. */
function readRealm(text: string | undefined, origin: string): URL | undefined {
  if (text === undefined || !URL.canParse(text)) return undefined;
  const realm = new URL(text);
  const isSafe = realm.protocol === "https:" || realm.protocol === new URL(origin).protocol;
  return isSafe && realm.username === "" && realm.password === "" ? realm : undefined;
}

function scopesOf(asked: string | undefined, { repository, actions, mountFrom }: Rights): string[] {
  const own = asked?.split(" ").filter(Boolean) ?? [];
  const scopes = own.length > 0 ? own : [`repository:${repository}:${actions}`];
  return mountFrom === undefined ? scopes : [...scopes, `repository:${mountFrom}:pull`];
}

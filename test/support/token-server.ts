/**
 * A token service whose tokens docker-registry takes (distribution, spec/auth/jwt.md).
 *
 * @module
 */
import { X509Certificate, createPrivateKey, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { makeAuthority, type Certificate } from "./certificates.ts";

const issuer = "test-issuer";
const service = "test-service";
const lifetimeSeconds = 300;

/** docker-registry names the actions of a scope in any order. */
function inOrder(scope: string): string {
  const [type, name, actions = ""] = scope.split(":");
  return [type, name, actions.split(",").sort().join(",")].join(":");
}

/** Gives tokens for whatever is asked for to one user, and for pulling to all others. */
export class TokenServer implements AsyncDisposable {
  readonly #server: Bun.Server<undefined>;
  readonly #certificate: Certificate;
  readonly #password: string;
  /** The scopes that were asked for, one entry for each token. */
  readonly asked: string[][] = [];

  private constructor(certificate: Certificate, password: string) {
    this.#certificate = certificate;
    this.#password = password;
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => this.#answer(request),
    });
  }

  static async start(folder: string, password: string): Promise<TokenServer> {
    return new TokenServer(await makeAuthority(folder, "tokens"), password);
  }

  /** The section `auth` of the registry's configuration. */
  get registryAuth(): object {
    const realm = `http://127.0.0.1:${this.#server.port}/token`;
    return {
      token: { realm, service, issuer, rootcertbundle: this.#certificate.certificate },
    };
  }

  #answer(request: Request): Response {
    const scopes = new URL(request.url).searchParams.getAll("scope");
    const sent = request.headers.get("authorization");
    const isUser = sent === `Basic ${Buffer.from(`user:${this.#password}`).toString("base64")}`;
    if (sent !== null && !isUser) return new Response(null, { status: 401 });
    this.asked.push(scopes.map(inOrder));
    const access = scopes.map((scope) => {
      const [type = "", name = "", actions = ""] = scope.split(":");
      const wanted = actions.split(",");
      return {
        type,
        name,
        actions: isUser ? wanted : wanted.filter((action) => action === "pull"),
      };
    });
    return Response.json({ token: this.#token(access), expires_in: lifetimeSeconds });
  }

  #token(access: object[]): string {
    const { certificate, key } = this.#certificate;
    const chain = [new X509Certificate(readFileSync(certificate)).raw.toString("base64")];
    const nowSeconds = Math.floor(Date.now() / 1000);
    const claims = {
      iss: issuer,
      sub: "test",
      aud: service,
      exp: nowSeconds + lifetimeSeconds,
      nbf: nowSeconds - lifetimeSeconds,
      iat: nowSeconds,
      jti: randomUUID(),
      access,
    };
    const parts = [{ typ: "JWT", alg: "ES256", x5c: chain }, claims].map((part) =>
      Buffer.from(JSON.stringify(part)).toString("base64url"),
    );
    const signed = Buffer.from(parts.join("."));
    // JWS holds the two numbers of the signature as they are, not in ASN.1 (RFC 7518, section 3.4).
    const signature = sign("sha256", signed, {
      key: createPrivateKey(readFileSync(key)),
      dsaEncoding: "ieee-p1363",
    });
    return [...parts, signature.toString("base64url")].join(".");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }
}

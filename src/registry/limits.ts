/**
 * Limits on what registries send and on how long they may take.
 *
 * @module
 */
import { KiB, MiB } from "../util/bytes.ts";

/** What registries must accept at least is 4 MiB (distribution-spec, "Pushing Manifests"). */
export const manifestBytesMax = 8 * MiB;

/** One range is held in memory as a whole. */
export const rangeBytesMax = 64 * MiB;

/** Of a larger range, what is asked for and held at a time. */
export const partBytes = 4 * MiB;

/** Bytes of a whole blob read past, where a server answers a range with 200. */
export const skipBytesMax = MiB;

/** Of an error's body only the first diagnostics are shown. */
export const errorBodyBytesMax = 64 * KiB;

/** Tokens travel in headers, which few servers take beyond 32 KiB. */
export const tokenBodyBytesMax = 64 * KiB;

/** A body that is not looked at is read up to here, so that its connection can be used again. */
export const discardBytesMax = 16 * KiB;

/** hosts.toml, config.json, certificates and answers of credential helpers. */
export const configBytesMax = MiB;

/** A registry, its storage's front end and a CDN are three; a loop has no end. */
export const redirectsMax = 5;

/** Tokens kept; the oldest go first. */
export const tokensMax = 1024;

/** A piece of a chunked upload, for registries that refuse large bodies. */
export const uploadPieceBytes = 16 * MiB;

/** How often a blob may be continued where a connection broke. */
export const continuationsMax = 100;

/** What may be changed, by tests and by what knows its network. Times in ms. */
export interface RegistryLimits {
  /** To a server that was not heard of lately. */
  readonly connectTimeoutMs: number;
  /** From the request to the head of the answer: lookup, connection, TLS, the server's work. */
  readonly answerTimeoutMs: number;
  /** Between two pieces of a body, either way. */
  readonly idleTimeoutMs: number;
  /** A body must bring `rateBytesMin` within each `rateWindowMs` that we wait for it. */
  readonly rateWindowMs: number;
  readonly rateBytesMin: number;
  /** Requests and bodies on their way at a time from one server; as many again to it. */
  readonly connectionsPerServer: number;
  /** How often all hosts of a registry are tried before a call fails as `unavailable`. */
  readonly roundsMax: number;
  /** The first pause between rounds; each is twice the one before, of which a random part. */
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  /** A server that asks for more patience than this is taken to be away. */
  readonly retryAfterMaxMs: number;
  /** How long a host that failed is asked after the others. */
  readonly restMs: number;
  readonly helperTimeoutMs: number;
}

export const defaultLimits: RegistryLimits = {
  connectTimeoutMs: 5_000,
  answerTimeoutMs: 30_000,
  idleTimeoutMs: 15_000,
  rateWindowMs: 30_000,
  rateBytesMin: 32 * KiB,
  connectionsPerServer: 8,
  roundsMax: 4,
  backoffMs: 250,
  backoffMaxMs: 10_000,
  retryAfterMaxMs: 60_000,
  restMs: 30_000,
  helperTimeoutMs: 15_000,
};

/**
 * Brings pieces from the registry into a pack.
 *
 * A range is verified while the client still knows who sent it: where a piece is not what the table
 * of contents says, the client asks the next mirror, and what was right already is kept.
 *
 * @module
 */
import { AppError } from "../../errors.ts";
import type { Clock } from "../../registry/clock.ts";
import type { RegistryClient } from "../../registry/contract.ts";
import { RegistryError } from "../../registry/registry-error.ts";
import { toHex } from "../../util/bytes.ts";
import type { Logger } from "../../util/logger.ts";
import type { Priority } from "../contract.ts";
import type { EventLog } from "../event-log.ts";
import type { FillablePack } from "../fillable-pack.ts";
import type { AheadPolicy } from "./ahead-policy.ts";
import type { FillCounts } from "./counts.ts";
import type { Failure } from "./fetch-queue.ts";
import type { FillThreads } from "./fill-threads.ts";
import { jobPieces } from "./job-pieces.ts";
import { fillLargePiece } from "./large-piece.ts";
import { isLarge, type Span } from "./span.ts";

export interface FetcherOptions {
  readonly client: Pick<RegistryClient, "blobRange" | "blobParts">;
  readonly threads: Pick<FillThreads, "run">;
  readonly policy: AheadPolicy;
  readonly counts: FillCounts;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Fetch {
  readonly pack: FillablePack;
  readonly span: Span;
  readonly priority: Priority;
  readonly signal: AbortSignal;
  /** These pieces are in the pack, verified. */
  readonly onDone: (pieces: ArrayLike<number> & Iterable<number>) => void;
}

export class Fetcher {
  readonly #options: FetcherOptions;

  constructor(options: FetcherOptions) {
    this.#options = options;
  }

  /** Why not all of the span came; undefined where all did. Never rejects. */
  async fetch(fetch: Fetch): Promise<Failure | undefined> {
    const { pack, span } = fetch;
    const [first] = span.pieces;
    try {
      if (first !== undefined && isLarge(pack.pieces, first)) return await this.#fetchLarge(fetch);
      return await this.#fetchSpan(fetch);
    } catch (error) {
      return failureOf(error);
    }
  }

  async #fetchSpan({ pack, span, priority, signal, onDone }: Fetch): Promise<Failure | undefined> {
    let missing = span.pieces;
    let isMismatch = false;
    let failure: Failure | undefined;
    const check = async (bytes: Uint8Array, host: string): Promise<void> => {
      const pieces = jobPieces(pack.pieces, span, missing);
      const job = { file: pack.file, bytes, pieces };
      const result = await this.#options.threads.run(job, priority).catch((error: unknown) => {
        failure = { kind: "local", error };
      });
      if (result === undefined) return;
      onDone(result.done);
      missing = [...result.mismatched];
      isMismatch = missing.length > 0;
      if (isMismatch) throw this.#mismatch(pack, missing, host);
    };
    try {
      await this.#read(pack, span, signal, check);
    } catch (error) {
      return isMismatch && isDataLoss(error) ? { kind: "mismatch", error } : failureOf(error);
    }
    return failure;
  }

  /** Each server is asked for all of it: of what several sent, nobody could tell which one lied. */
  async #fetchLarge({ pack, span, signal, onDone }: Fetch): Promise<Failure | undefined> {
    const [piece = 0] = span.pieces;
    let isMismatch = false;
    let failure: Failure | undefined;
    const use = async (parts: AsyncIterable<Uint8Array>, host: string): Promise<void> => {
      const isRight = await fillLargePiece(pack, piece, this.#counted(pack, parts)).catch(
        (error: unknown) => {
          if (error instanceof RegistryError) throw error;
          failure = { kind: "local", error };
        },
      );
      isMismatch = isRight === false;
      if (isMismatch) throw this.#mismatch(pack, [piece], host);
      if (isRight === true) onDone([piece]);
    };
    const { reference, pieces } = pack;
    const { digest } = pieces.origin;
    const { offsetBytes, lengthBytes } = span;
    try {
      const { client } = this.#options;
      await client.blobParts(reference, digest, offsetBytes, lengthBytes, use, { signal });
    } catch (error) {
      return isMismatch && isDataLoss(error) ? { kind: "mismatch", error } : failureOf(error);
    }
    return failure;
  }

  async *#counted(
    pack: FillablePack,
    parts: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void> {
    let startMs = this.#options.clock.nowMs();
    for await (const part of parts) {
      this.#count(pack, part.length, startMs);
      yield part;
      startMs = this.#options.clock.nowMs();
    }
  }

  async #read(
    pack: FillablePack,
    { offsetBytes, lengthBytes }: Span,
    signal: AbortSignal,
    check: (bytes: Uint8Array, host: string) => Promise<void>,
  ): Promise<void> {
    const { client, clock } = this.#options;
    const { reference, pieces } = pack;
    const startMs = clock.nowMs();
    const checkAndCount = async (bytes: Uint8Array, host: string): Promise<void> => {
      this.#count(pack, bytes.length, startMs);
      await check(bytes, host);
    };
    const options = { signal, check: checkAndCount };
    await client.blobRange(reference, pieces.origin.digest, offsetBytes, lengthBytes, options);
  }

  #count(pack: FillablePack, bytes: number, startMs: number): void {
    const { clock, policy, counts } = this.#options;
    policy.noteFetch(bytes, clock.nowMs() - startMs);
    counts.fetches += 1;
    counts.fetchedBytes += bytes;
    pack.fetchedBytes += bytes;
  }

  /** The log line is for audits: who sent what in the place of what. */
  #mismatch(pack: FillablePack, pieces: readonly number[], host: string): AppError {
    const { packId } = pack;
    const { image, digest } = pack.pieces.origin;
    const { counts, events, log } = this.#options;
    counts.mismatches += pieces.length;
    const [first = 0] = pieces;
    const expected = toHex(pack.pieces.sha256Of(first));
    const offsetBytes = pack.pieces.blobOffsetOf(first);
    log.error(
      { host, image, digest, packId, pieces: pieces.length, offsetBytes, expected },
      "a registry sent content that has not its SHA-256",
    );
    const message = `"${host}" sent wrong content at byte ${offsetBytes} of ${digest}`;
    events.add({ kind: "mismatch", packId, image, message });
    return new AppError("data_loss", `${message}: ${pieces.length} pieces have not their SHA-256`, {
      remedy: "check the registry and the proxies in front of it",
    });
  }
}

/** @param error of the client, or of this machine */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof RegistryError)) return { kind: "local", error };
  return { kind: "registry", error, retryAfterMs: error.retryAfterMs };
}

function isDataLoss(error: unknown): boolean {
  return error instanceof AppError && error.code === "data_loss";
}

/** What fills packs, put together. */
import type { Config } from "../../config/schema.ts";
import type { AppError } from "../../errors.ts";
import { createRegistryClient } from "../../registry/client.ts";
import { type Clock, systemClock } from "../../registry/clock.ts";
import type { RegistryClient } from "../../registry/contract.ts";
import { KiB } from "../../util/bytes.ts";
import type { Logger } from "../../util/logger.ts";
import type { EventLog } from "../event-log.ts";
import type { FillablePack } from "../fillable-pack.ts";
import { AheadPolicy } from "./ahead-policy.ts";
import { type FillCounts, newCounts } from "./counts.ts";
import { FetchQueue } from "./fetch-queue.ts";
import { Fetcher } from "./fetcher.ts";
import { FillThreads } from "./fill-threads.ts";
import { Filler } from "./filler.ts";
import { Neighbours } from "./neighbours.ts";
import { Usefulness } from "./usefulness.ts";
import { pressureReader } from "./pressure.ts";

/**
 * The queue tries again itself, with more patience than a single call should have; a server that
 * drips, or does not answer, must not hold up a reader whose other mirrors would answer.
 */
const registryLimits = {
  roundsMax: 1,
  answerTimeoutMs: 15_000,
  idleTimeoutMs: 10_000,
  rateWindowMs: 10_000,
  rateBytesMin: 160 * KiB,
} as const;

export interface FillEngineOptions {
  readonly config: Pick<Config, "lazy" | "dedupd">;
  readonly events: EventLog;
  readonly log: Logger;
  readonly onFilled: (pack: FillablePack) => void;
  readonly onCrash: (error: AppError) => void;
  /** Default: what hosts.toml and config.json of the node say. */
  readonly client?: Pick<RegistryClient, "blobRange" | "blobParts">;
  readonly clock?: Clock;
}

export interface FillEngine {
  readonly filler: Filler;
  readonly queue: FetchQueue;
  readonly policy: AheadPolicy;
  readonly counts: FillCounts;
  readonly usefulness: Usefulness;
  /** A pack was exposed: containers that read it are about to start. */
  warmUp(pack: FillablePack): void;
  close(): void;
}

export function createFillEngine(options: FillEngineOptions): FillEngine {
  const { config, events, log, onFilled, onCrash, clock = systemClock } = options;
  const { lazy, dedupd } = config;
  const counts = newCounts();
  const usefulness = new Usefulness();
  const policy = new AheadPolicy({
    clock,
    background: lazy.background,
    backgroundBytesPerSecond: lazy.background_bytes_per_second,
    pressure: pressureReader(clock),
  });
  const queue = new FetchQueue({
    clock,
    workers: dedupd.workers,
    gapBytes: lazy.coalesce_bytes,
    readTimeoutMs: lazy.read_timeout_ms,
    policy,
  });
  const limits = { ...registryLimits, connectionsPerServer: dedupd.workers };
  const client = options.client ?? createRegistryClient({ limits });
  const threads = new FillThreads(onCrash);
  const fetcher = new Fetcher({ client, threads, policy, counts, events, clock, log });
  const gapBytes = lazy.coalesce_bytes;
  const neighbours = new Neighbours(
    () => policy.bytesPerSecond,
    () => usefulness.figures.neighbour,
  );
  const told = { counts, usefulness, clock, gapBytes, log, onFilled };
  const filler = new Filler({ queue, fetcher, neighbours, ...told });
  const close = () => {
    filler.close();
    threads.close();
  };
  const warmUp = ({ reference, pieces }: FillablePack) => {
    policy.noteDemand();
    threads.warmUp();
    // Looking the registry up, connecting and being let in take several round trips.
    client.blobRange(reference, pieces.origin.digest, 0, 1).catch(() => undefined);
  };
  return { filler, queue, policy, counts, usefulness, warmUp, close };
}

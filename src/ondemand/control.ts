/**
 * What dedupd can be asked, as JSON over HTTP on its Unix socket; the one description that server
 * (http/control-app.ts) and client (control-client.ts) share.
 *
 * | request                    | body               | answer           |
 * | -------------------------- | ------------------ | ---------------- |
 * | `PUT /packs/:id`           |                    | `Exposed`        |
 * | `DELETE /packs/:id`        |                    | `{}`             |
 * | `GET /packs`               |                    | `PackStatus[]`   |
 * | `GET /packs/:id`           |                    | `PackStatus`     |
 * | `POST /packs/:id/prefetch` | `PrefetchRequest`  | `Prefetching`    |
 * | `GET /traces/:image`       |                    | `ImageTrace`     |
 * | `PUT /traces/:image`       | `ImageTrace`       | `TraceStored`    |
 * | `GET /status`              |                    | `DedupdStatus`   |
 * | `GET /events?after=N`      |                    | `DedupdEvents`   |
 *
 * An answer that is no success has the body `{error, code, remedy?}` (http/errors.ts).
 *
 * @module
 */
import { z } from "zod";
import type { BackendName, SuspectPack, UnservedPack } from "./contract.ts";
import { traceBytesMax } from "./trace/format.ts";

/** The longest that a request for events waits for one. */
export const eventWaitMs = 30_000;
/** A trace of an image names a few thousand pieces. */
const prefetchItemsMax = 2 ** 17;

export interface Exposed {
  /** To be given to EROFS as the pack's device, or to be attached to a loop device. */
  readonly path: string;
}

/**
 * - `waiting`: pieces are missing, nothing of the pack is being fetched;
 * - `fetching`: pieces are being fetched, or wait for their turn;
 * - `complete`: all pieces are there and on disk;
 * - `failed`: its files are damaged (`reason`); it cannot be exposed.
 */
export type PackState = "waiting" | "fetching" | "complete" | "failed";

export interface PackStatus {
  readonly packId: number;
  /** As the user named it; of the image by which the layer came. Empty for a failed pack. */
  readonly image: string;
  /** Of the layer's blob. */
  readonly digest: string;
  readonly pieces: number;
  readonly presentPieces: number;
  /** Of content, decompressed. */
  readonly bytes: number;
  readonly presentBytes: number;
  /** Received from registries for the pack by this process, compressed. */
  readonly fetchedBytes: number;
  /** Content that was read, in whole pieces; reads of a complete pack are not seen. */
  readonly readBytes: number;
  readonly state: PackState;
  /** Why the last attempt failed; gone with the next success. */
  readonly reason?: string;
  /** At the rate of the last minute, while pieces are being fetched. */
  readonly etaSeconds?: number;
}

const range = z.tuple([z.number().int().nonnegative(), z.number().int().nonnegative()]);

/** What to fetch before it is asked for, in this order; with no key: all. */
export const prefetchSchema = z.strictObject({
  /** Of the pack: offset and length in bytes. */
  ranges: z.array(range).max(prefetchItemsMax).optional(),
  /** All pieces that begin before this offset in the blob. */
  blobEndBytes: z.number().int().nonnegative().optional(),
  /** SHA-256 of pieces, hexadecimal; what is not of the pack is passed over. */
  hashes: z
    .array(z.string().regex(/^[0-9a-f]{64}$/))
    .max(prefetchItemsMax)
    .optional(),
});

export type PrefetchRequest = z.infer<typeof prefetchSchema>;

/** What a request to prefetch came to: pieces that were not there, and are asked for now. */
export interface Prefetching {
  readonly pieces: number;
  readonly bytes: number;
}

/** What the start of an image reads first, as `trace/format.ts` describes it. */
export const traceSchema = z.strictObject({ trace: z.string().max(traceBytesMax) });

export type ImageTrace = z.infer<typeof traceSchema>;

export interface TraceStored {
  readonly pieces: number;
}

/**
 * Why something is fetched before it is asked for:
 *
 * - `trace`: earlier starts of the image read it;
 * - `predictor`: it followed what was just read, when that was read before;
 * - `window`: somebody reads a file in order;
 * - `neighbour`: it lies beside a small file that was read;
 * - `landmark`: the author of the image wants it there;
 * - `request`: somebody asked for it.
 */
export const prefetchCauses = [
  "trace",
  "predictor",
  "window",
  "neighbour",
  "landmark",
  "request",
] as const;

export type PrefetchCause = (typeof prefetchCauses)[number];

/**
 * What prefetch brought; how much of that was read; and of how much nobody can tell, because its
 * pack was complete before it was read: reads of a complete pack are not seen.
 */
export interface PrefetchFigures {
  readonly pieces: number;
  readonly bytes: number;
  readonly usedPieces: number;
  readonly usedBytes: number;
  readonly unseenPieces: number;
  readonly unseenBytes: number;
}

export interface TraceStatus {
  /** Images whose start is being recorded. */
  readonly recording: number;
  /** Images for which the predictor was wrong too often. */
  readonly predictorStopped: readonly string[];
}

/** Since the process began. */
export interface FillCounters {
  /** Reads that waited for missing pieces. */
  readonly requests: number;
  /** Of them, those that ended in an error. */
  readonly failedRequests: number;
  /** Received from registries, compressed. */
  readonly fetchedBytes: number;
  /** Range requests to registries that brought what was asked for. */
  readonly fetches: number;
  /** Content that was read, in whole pieces; reads of a complete pack are not seen. */
  readonly readBytes: number;
  /** Content that another lazy pack had. */
  readonly copiedBytes: number;
  /** Content verified and written. */
  readonly filledBytes: number;
  /** Pieces that had not their SHA-256. */
  readonly mismatches: number;
  /** Attempts that failed and were made again. */
  readonly retries: number;
  /** Reads that failed because `lazy.read_timeout_ms` had passed. */
  readonly timeouts: number;
  /** Pieces that prefetch brought. */
  readonly prefetchedPieces: number;
}

export interface DedupdStatus {
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly backend: BackendName;
  /** Why it is not a better one; empty where it is what was configured. */
  readonly backendReasons: readonly string[];
  readonly packs: number;
  readonly residentBytes: number;
  /** Pieces that wait for their turn. */
  readonly queued: { readonly demand: number; readonly prefetch: number };
  /** Range requests on their way. */
  readonly inFlight: number;
  /** Packs from which zeros may have been read. */
  readonly suspects: readonly SuspectPack[];
  /** Packs whose reads wait until they can be exposed again; absent where there are none. */
  readonly unserved?: readonly UnservedPack[];
  /** Why nothing is fetched in the background: memory is short, somebody reads; absent if it is. */
  readonly backgroundPaused?: string;
  readonly counters: FillCounters;
  /** By why it was fetched, since the process began. */
  readonly prefetched: Readonly<Record<PrefetchCause, PrefetchFigures>>;
  readonly traces: TraceStatus;
}

/**
 * - `complete`: the last piece of the pack is there and on disk;
 * - `mismatch`: a registry sent something else than the table of contents promised;
 * - `failed`: a read of the pack ended in an error, or its files are damaged;
 * - `suspect`: zeros may have been read from it (no process of ours watched the file).
 */
export type DedupdEventKind = "complete" | "mismatch" | "failed" | "suspect";

export interface DedupdEvent {
  /** Ascending, also over restarts of dedupd as long as the clock is not set back. */
  readonly number: number;
  readonly kind: DedupdEventKind;
  readonly packId: number;
  readonly image: string;
  readonly timeMs: number;
  /** For people. */
  readonly message: string;
}

export interface DedupdEvents {
  /** Those kept after the number that was asked for; of all, if it is from before a restart. */
  readonly events: readonly DedupdEvent[];
  /** What to ask for next. */
  readonly last: number;
}

/** What the API can be asked, in the process that answers. */
export interface DedupdControl {
  expose(packId: number): Promise<string>;
  withdraw(packId: number): Promise<void>;
  packs(): PackStatus[];
  /** Throws `not_found`. */
  pack(packId: number): PackStatus;
  prefetch(packId: number, request: PrefetchRequest): Prefetching;
  /** Throws `not_found` for an image without a trace, `invalid_argument` for no image. */
  trace(image: string): ImageTrace;
  /** Throws `invalid_argument` and `resource_exhausted` for what is no trace. */
  putTrace(image: string, trace: ImageTrace): TraceStored;
  status(): Promise<DedupdStatus>;
  events(after: number): Promise<DedupdEvents>;
}

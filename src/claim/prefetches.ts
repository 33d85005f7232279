/**
 * Prefetching that somebody asked for: an image as a whole, or what a trace names of it.
 *
 * dedupd does the work; here is known which packs an image has, and how far each request came.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { PackStatus, PrefetchRequest } from "../ondemand/control.ts";
import type { LayerDecision } from "../snapshot/contract.ts";
import { formatReference, parseReference } from "../registry/reference.ts";
import type { PackProgress, TraceProgress, TraceRequest } from "../store/trace-progress.ts";
import type { LazyLayers } from "./lazy-layers.ts";
import { readTrace } from "./trace-file.ts";

/** Requests whose progress can be asked for; the oldest go first. */
const keptMax = 64;

export interface PrefetchesOptions {
  readonly lazyLayers: Pick<LazyLayers, "prefetch" | "status">;
  readonly decisions: () => readonly LayerDecision[];
  /** The pack of a layer that has still content to be fetched. */
  readonly packOf: (layerId: number) => number | undefined;
  readonly traceProgress: (request: TraceRequest) => Promise<TraceProgress>;
  readonly traceFolder: string | null;
  readonly nowMs?: () => number;
}

/** Names as in the JSON. */
export interface PrefetchStatus {
  readonly id: number;
  readonly image: string;
  readonly state: "fetching" | "complete" | "failed";
  /** Why nothing comes at the moment, or will come; null for nothing to say. */
  readonly reason: string | null;
  readonly layers: number;
  readonly pieces: number;
  readonly present_pieces: number;
  /** Of content, decompressed. */
  readonly bytes: number;
  readonly present_bytes: number;
  /** At the rate since it was asked for; null before anything came, and where nothing is left. */
  readonly eta_seconds: number | null;
  /** Lines of the trace that the image does not know. */
  readonly unknown: number;
}

interface Prefetch {
  readonly id: number;
  readonly image: string;
  /** Undefined for all content. */
  readonly hashes: readonly string[] | undefined;
  readonly unknown: number;
  /** By pack, as last heard of it. */
  readonly packs: Map<number, PackProgress>;
  readonly startMs: number;
  /** What was there then. */
  readonly startBytes: number;
}

interface Measured {
  readonly packs: readonly PackProgress[];
  readonly unknown: number;
  readonly reason: string | undefined;
  readonly hasFailed: boolean;
}

export class Prefetches {
  readonly #options: PrefetchesOptions;
  readonly #kept = new Map<number, Prefetch>();
  readonly #nowMs: () => number;
  #lastId = 0;

  constructor(options: PrefetchesOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /**
   * Has dedupd fetch what is missing.
   *
   * @param trace the name of a file below `prefetch.trace_dir`; undefined: all content
   * @throws AppError `not_found` for an image that was not claimed here, `unavailable` without
   *   dedupd, and what `readTrace` throws
   */
  async start(image: string, trace?: string): Promise<PrefetchStatus> {
    const { traceFolder, lazyLayers } = this.#options;
    const packIds = this.#packsOf(image);
    const hashes = trace === undefined ? undefined : readTrace(traceFolder, trace);
    const request: PrefetchRequest = hashes === undefined ? {} : { hashes: [...hashes] };
    await Promise.all(packIds.map((packId) => lazyLayers.prefetch(packId, request)));
    const measured = await this.#measure(packIds, hashes);
    const prefetch = {
      id: ++this.#lastId,
      image,
      hashes,
      unknown: measured.unknown,
      packs: new Map(packIds.map((packId) => [packId, nothingOf(packId)])),
      startMs: this.#nowMs(),
      startBytes: measured.packs.reduce((sum, { presentBytes }) => sum + presentBytes, 0),
    };
    this.#keep(prefetch);
    return this.#statusOf(prefetch, measured);
  }

  /** How far a request came; throws `not_found` for one that is not known any more. */
  async status(id: number): Promise<PrefetchStatus> {
    const prefetch = this.#kept.get(id);
    if (prefetch === undefined) throw new AppError("not_found", `No prefetching has number ${id}`);
    const measured = await this.#measure([...prefetch.packs.keys()], prefetch.hashes);
    return this.#statusOf(prefetch, measured);
  }

  #statusOf(prefetch: Prefetch, measured: Measured): PrefetchStatus {
    const status = statusOf(prefetch, measured);
    const doneBytes = status.present_bytes - prefetch.startBytes;
    if (status.state !== "fetching" || doneBytes <= 0) return status;
    const secondsPerByte = (this.#nowMs() - prefetch.startMs) / 1000 / doneBytes;
    const leftBytes = status.bytes - status.present_bytes;
    return { ...status, eta_seconds: Math.ceil(secondsPerByte * leftBytes) };
  }

  #keep(prefetch: Prefetch): void {
    this.#kept.set(prefetch.id, prefetch);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > keptMax && oldest !== undefined) this.#kept.delete(oldest);
  }

  /** The packs of the image's layers; none where all of its content is there. */
  #packsOf(image: string): number[] {
    const name = formatReference(parseReference(image));
    const ofImage = this.#options.decisions().filter((decision) => nameOf(decision) === name);
    if (ofImage.length === 0) {
      throw new AppError("not_found", `Image "${image}" was not pulled with lazy layers`, {
        remedy: "GET /lazy lists the images whose layers could be lazy",
      });
    }
    const packs = ofImage.flatMap(({ layerId }) =>
      layerId === undefined ? [] : (this.#options.packOf(layerId) ?? []),
    );
    return [...new Set(packs)];
  }

  async #measure(
    packIds: readonly number[],
    hashes: readonly string[] | undefined,
  ): Promise<Measured> {
    const view = await this.#options.lazyLayers.status();
    const found = view?.packs.filter(({ packId }) => packIds.includes(packId)) ?? [];
    const failed = found.find(({ state }) => state === "failed");
    const reasons = found.flatMap(({ reason }) => reason ?? []);
    const reason = view === undefined ? "dedupd is away" : (failed?.reason ?? reasons[0]);
    const facts = { reason, hasFailed: failed !== undefined };
    if (hashes !== undefined) {
      return { ...(await this.#options.traceProgress({ packIds, hashes })), ...facts };
    }
    return { packs: found.map(progressOf), unknown: 0, ...facts };
  }
}

function nameOf({ image }: LayerDecision): string | undefined {
  try {
    return formatReference(parseReference(image));
  } catch {
    return undefined;
  }
}

function nothingOf(packId: number): PackProgress {
  return { packId, pieces: 0, bytes: 0, presentPieces: 0, presentBytes: 0 };
}

function progressOf(status: PackStatus): PackProgress {
  const { packId, pieces, bytes, presentPieces, presentBytes } = status;
  return { packId, pieces, bytes, presentPieces, presentBytes };
}

/** Remembers the figures: a pack that is gone by the next time was complete. */
function statusOf(prefetch: Prefetch, { packs, reason, hasFailed }: Measured): PrefetchStatus {
  const { id, image, unknown } = prefetch;
  const measured = new Set(packs.map(({ packId }) => packId));
  const isAway = reason !== undefined && packs.length === 0;
  for (const [packId, before] of prefetch.packs) {
    if (measured.has(packId) || isAway) continue;
    const { pieces, bytes } = before;
    prefetch.packs.set(packId, { ...before, presentPieces: pieces, presentBytes: bytes });
  }
  for (const pack of packs) prefetch.packs.set(pack.packId, pack);
  const sum = (key: Exclude<keyof PackProgress, "packId">) =>
    prefetch.packs.values().reduce((total, pack) => total + pack[key], 0);
  const isComplete = !isAway && sum("presentPieces") === sum("pieces");
  return {
    id,
    image,
    state: isComplete ? "complete" : hasFailed ? "failed" : "fetching",
    reason: isComplete ? null : (reason ?? null),
    layers: prefetch.packs.size,
    pieces: sum("pieces"),
    present_pieces: sum("presentPieces"),
    bytes: sum("bytes"),
    present_bytes: sum("presentBytes"),
    eta_seconds: null,
    unknown,
  };
}

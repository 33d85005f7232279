/**
 * Prefetching that somebody asked for: an image as a whole, or what a trace names of it.
 *
 * dedupd does the work; here is known which packs an image has, and how far each request came. It
 * always comes to an end: what dedupd has forgotten it is asked for again, once, and a layer that
 * was removed meanwhile is a failure.
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
  readonly isReferenced: (layerId: number) => boolean;
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
  /** By pack: the blob of its layer. */
  readonly digests: ReadonlyMap<number, string>;
  /** By pack: how many pieces were there when dedupd was asked again. */
  readonly askedAgain: Map<number, number>;
}

interface Measured {
  readonly packs: readonly PackProgress[];
  readonly unknown: number;
  readonly reason: string | undefined;
  readonly hasFailed: boolean;
  /** Packs of which dedupd fetches nothing, and why, as far as it says. */
  readonly idle: ReadonlyMap<number, string | undefined>;
}

/** What became of a pack that nobody measured. */
type Fate = "there" | "complete" | "removed";

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
    const { traceFolder } = this.#options;
    const digests = this.#packsOf(image);
    const packIds = [...digests.keys()];
    const hashes = trace === undefined ? undefined : readTrace(traceFolder, trace);
    await Promise.all(packIds.map((packId) => this.#ask(packId, hashes)));
    const measured = await this.#measure(packIds, hashes);
    const prefetch = {
      id: ++this.#lastId,
      image,
      hashes,
      unknown: measured.unknown,
      packs: new Map(packIds.map((packId) => [packId, nothingOf(packId)])),
      startMs: this.#nowMs(),
      startBytes: measured.packs.reduce((sum, { presentBytes }) => sum + presentBytes, 0),
      digests,
      askedAgain: new Map(),
    };
    this.#keep(prefetch);
    return this.#statusOf(prefetch, measured);
  }

  /** How far a request came; throws `not_found` for one that is not known any more. */
  async status(id: number): Promise<PrefetchStatus> {
    const prefetch = this.#kept.get(id);
    if (prefetch === undefined) throw new AppError("not_found", `No prefetching has number ${id}`);
    const measured = await this.#measure([...prefetch.packs.keys()], prefetch.hashes);
    const stalled = await this.#askAgain(prefetch, measured);
    return this.#statusOf(prefetch, { ...measured, ...stalled });
  }

  /** A pack that is gone by now has become complete, or was removed: `#fateOf` tells. */
  async #ask(packId: number, hashes: readonly string[] | undefined): Promise<void> {
    const request: PrefetchRequest = hashes === undefined ? {} : { hashes: [...hashes] };
    try {
      await this.#options.lazyLayers.prefetch(packId, request);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "not_found") throw error;
    }
  }

  /** Why nothing more will come; nothing where that cannot be said yet. */
  async #askAgain(
    { askedAgain, hashes }: Prefetch,
    { packs, idle }: Measured,
  ): Promise<Partial<Measured>> {
    for (const { packId, pieces, presentPieces } of packs) {
      if (presentPieces === pieces || !idle.has(packId)) continue;
      if (askedAgain.get(packId) === presentPieces) {
        const reason = idle.get(packId) ?? "nothing more of it is fetched";
        return { hasFailed: true, reason };
      }
      askedAgain.set(packId, presentPieces);
      await this.#ask(packId, hashes);
    }
    return {};
  }

  #keep(prefetch: Prefetch): void {
    this.#kept.set(prefetch.id, prefetch);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > keptMax && oldest !== undefined) this.#kept.delete(oldest);
  }

  /** The packs of the image's layers, and their blobs; none where all of its content is there. */
  #packsOf(image: string): Map<number, string> {
    const ofImage = this.#decisionsOf(image);
    if (ofImage.length === 0) {
      throw new AppError("not_found", `Image "${image}" was not pulled with lazy layers`, {
        remedy: "GET /lazy lists the images whose layers could be lazy",
      });
    }
    const packs = new Map<number, string>();
    for (const { layerId, digest } of ofImage) {
      const packId = layerId === undefined ? undefined : this.#options.packOf(layerId);
      if (packId !== undefined) packs.set(packId, digest);
    }
    return packs;
  }

  #decisionsOf(image: string): LayerDecision[] {
    const name = formatReference(parseReference(image));
    return this.#options.decisions().filter((decision) => nameOf(decision) === name);
  }

  #fateOf({ image, digests }: Prefetch, packId: number): Fate {
    const { packOf, isReferenced } = this.#options;
    const digest = digests.get(packId);
    // The layer that took the place of the lazy one is that of the decision by then.
    const found = this.#decisionsOf(image).find((decision) => decision.digest === digest);
    const layerId = found?.layerId;
    if (layerId === undefined || !isReferenced(layerId)) return "removed";
    const pack = packOf(layerId);
    if (pack === undefined) return "complete";
    return pack === packId ? "there" : "removed";
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
    const idle = new Map(
      found.flatMap(({ packId, state, ...pack }) =>
        state === "waiting" ? [[packId, pack.reason] as const] : [],
      ),
    );
    const facts = { reason, hasFailed: failed !== undefined, idle };
    if (hashes !== undefined) {
      return { ...(await this.#options.traceProgress({ packIds, hashes })), ...facts };
    }
    return { packs: found.map(progressOf), unknown: 0, ...facts };
  }

  /** Remembers the figures: those of a pack that is gone are what they were. */
  #statusOf(prefetch: Prefetch, measured: Measured): PrefetchStatus {
    const { id, image, unknown } = prefetch;
    let { reason, hasFailed } = measured;
    for (const pack of measured.packs) prefetch.packs.set(pack.packId, pack);
    const seen = new Set(measured.packs.map(({ packId }) => packId));
    let isOpen = false;
    for (const [packId, before] of prefetch.packs) {
      const fate = seen.has(packId) ? "there" : this.#fateOf(prefetch, packId);
      const { pieces, bytes } = before;
      if (fate === "complete") {
        prefetch.packs.set(packId, { ...before, presentPieces: pieces, presentBytes: bytes });
      } else if (fate === "removed") {
        hasFailed = true;
        reason = `layer ${prefetch.digests.get(packId)} was removed`;
      } else isOpen ||= !seen.has(packId) || before.presentPieces < pieces;
    }
    const sum = (key: Exclude<keyof PackProgress, "packId">) =>
      prefetch.packs.values().reduce((total, pack) => total + pack[key], 0);
    const isComplete = !isOpen && !hasFailed;
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
      eta_seconds: isComplete || hasFailed ? null : this.#etaSeconds(prefetch),
      unknown,
    };
  }

  /** At the rate since the start; null where nothing came. */
  #etaSeconds({ packs, startMs, startBytes }: Prefetch): number | null {
    let [leftBytes, doneBytes] = [0, -startBytes];
    for (const { bytes, presentBytes } of packs.values()) {
      leftBytes += bytes - presentBytes;
      doneBytes += presentBytes;
    }
    if (doneBytes <= 0) return null;
    return Math.ceil(((this.#nowMs() - startMs) / 1000 / doneBytes) * leftBytes);
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

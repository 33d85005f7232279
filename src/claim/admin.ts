/**
 * What the admin API can ask and be told of lazy images.
 *
 * @module
 */
import { lazyPackOfLayer, listLazyPacks } from "../store/lazy-layers.ts";
import type { TraceProgress } from "../store/trace-progress.ts";
import type { DedupdStatus } from "../ondemand/control.ts";
import type { ClaimCounts } from "./claims.ts";
import type { EventCounts, LazyLayers } from "./lazy-layers.ts";
import { lazyView, type LayerPack, type LazyView } from "./lazy-view.ts";
import type { LazyParts, OpenClaims } from "./open.ts";
import { Prefetches } from "./prefetches.ts";
import { type Readiness, readinessOf } from "./readiness.ts";
import { suspectViews, type SuspectView } from "./suspect-packs.ts";
import type { PromotionCounts, Promotions } from "./promotions.ts";

/** Names as in the JSON; all since the start of the process that counts. */
export interface LazyStatistics {
  readonly claims: ClaimCounts;
  readonly promotions: PromotionCounts;
  /** What dedupd told of failures. */
  readonly events: EventCounts;
  /** Packs from which zeros may have been read, and by which containers. */
  readonly suspects: readonly SuspectView[];
  /** Null where it is away. */
  readonly dedupd: Pick<DedupdStatus, "backend" | "counters" | "prefetched" | "traces"> | null;
}

export interface LazyAdmin {
  readonly view: () => Promise<LazyView>;
  readonly prefetches: Prefetches;
  readonly traces: Pick<LazyLayers, "trace" | "putTrace">;
  readonly statistics: () => Promise<LazyStatistics>;
  readonly readiness: () => Promise<Readiness>;
}

const noClaims: ClaimCounts = { lazy: 0, present: 0, not_lazy: 0, seconds: 0 };

export function openLazyAdmin(
  { config, index, metadata, housekeeper }: LazyParts,
  lazyLayers: LazyLayers,
  claims: OpenClaims | undefined,
  promotions: Promotions,
  mounts: { isMounted(layerId: number): boolean },
): LazyAdmin {
  const packOf = (layerId: number): LayerPack | undefined => {
    const row = lazyPackOfLayer(index, layerId);
    return row && { packId: row.pack, isComplete: row.complete === 1 };
  };
  const prefetches = new Prefetches({
    lazyLayers,
    decisions: () => metadata.decisions(),
    packOf: (layerId) => {
      const pack = packOf(layerId);
      return pack?.isComplete === false ? pack.packId : undefined;
    },
    isReferenced: (layerId) => metadata.isLayerReferenced(layerId),
    traceProgress: (request) => housekeeper.call<TraceProgress>("traceProgress", request),
    traceFolder: config.prefetch.trace_dir,
  });
  const view = async () =>
    lazyView({
      isEnabled: claims !== undefined,
      decisions: metadata.decisions(),
      dedupd: await lazyLayers.status(),
      packOf,
      isReferenced: (layerId) => metadata.isLayerReferenced(layerId),
    });
  const statistics = async (): Promise<LazyStatistics> => {
    const found = await lazyLayers.status();
    return {
      claims: { ...(claims?.claims.counts ?? noClaims) },
      promotions: { ...promotions.counts },
      events: { ...lazyLayers.counts },
      suspects: found === undefined ? [] : suspectViews(found.dedupd.suspects, found.packs),
      dedupd: found === undefined ? null : figuresOf(found.dedupd),
    };
  };
  const readiness = async (): Promise<Readiness> => {
    const mounted = listLazyPacks(index).filter(({ layer }) => mounts.isMounted(layer));
    return readinessOf(await lazyLayers.status(), mounted.length);
  };
  return { view, prefetches, traces: lazyLayers, statistics, readiness };
}

function figuresOf({ backend, counters, prefetched, traces }: DedupdStatus) {
  return { backend, counters, prefetched, traces };
}

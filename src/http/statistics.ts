/**
 * The figures of `GET /stats`: what the node holds, what it saves, what conversion does.
 *
 * @module
 */
import type { LazyStatistics } from "../claim/admin.ts";
import type { EarlyCounts } from "../layer/early-builds.ts";
import type { ConversionCounts } from "../layer/layer-builds.ts";
import type { StoreStatistics } from "../store/statistics.ts";
import { version } from "../version.ts";

export interface PlainLayer {
  readonly name: string;
  readonly reason: string;
}

/** Names as in the JSON; sizes in bytes on disk unless they say otherwise. */
export interface NodeStatistics {
  readonly version: string;
  readonly layers: {
    /** Committed snapshots kept as an image. */
    readonly converted: number;
    /** Committed snapshots kept as a directory, and why. */
    readonly plain: number;
    readonly plain_layers: readonly PlainLayer[];
  };
  readonly images: { readonly count: number; readonly bytes: number };
  /** Images that have content in a pack of their own, and about how much is still missing there. */
  readonly lazy: LazyStatistics & { readonly images: number; readonly missing_bytes: number };
  readonly chunks: { readonly unique: number; readonly references: number };
  /** File content of all converted layers as if each kept its own. */
  readonly logical_bytes: number;
  readonly stored_bytes: number;
  readonly saved_bytes: number;
  /** Logical bytes for each stored byte; 0 where nothing is stored. */
  readonly dedup_ratio: number;
  readonly conversions: ConversionCounts;
  readonly early: EarlyCounts;
  readonly mounts: { readonly file: number; readonly loop: number };
}

export interface StatisticsSources {
  readonly store: StoreStatistics;
  readonly lazy: LazyStatistics;
  readonly conversions: ConversionCounts;
  readonly early: EarlyCounts;
  readonly mounts: { readonly file: number; readonly loop: number };
  readonly convertedLayers: number;
  readonly plainLayers: readonly PlainLayer[];
}

/** Reasons shown at most; the number of plain layers is always whole. */
const plainLayersShownMax = 100;

export function nodeStatistics(sources: StatisticsSources): NodeStatistics {
  const { store, conversions, early, mounts, convertedLayers, plainLayers } = sources;
  const { logicalBytes, storedBytes } = store;
  return {
    version,
    layers: {
      converted: convertedLayers,
      plain: plainLayers.length,
      plain_layers: plainLayers.slice(0, plainLayersShownMax),
    },
    images: { count: store.images, bytes: store.imageBytes },
    lazy: { images: store.lazyImages, missing_bytes: store.missingBytes, ...sources.lazy },
    chunks: { unique: store.chunksUnique, references: store.chunkReferences },
    logical_bytes: logicalBytes,
    stored_bytes: storedBytes,
    saved_bytes: logicalBytes - storedBytes,
    dedup_ratio: storedBytes === 0 ? 0 : logicalBytes / storedBytes,
    conversions: { ...conversions },
    early: { ...early },
    mounts,
  };
}

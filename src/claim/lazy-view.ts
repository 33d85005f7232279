/**
 * What people see of lazy images: which layers are lazy, why others are not, how much is there.
 *
 * @module
 */
import type { BackendName } from "../ondemand/contract.ts";
import type { PackState, PackStatus } from "../ondemand/control.ts";
import type { LayerDecision } from "../snapshot/contract.ts";
import type { DedupdView } from "./lazy-layers.ts";

/**
 * As `PackState`; and `removed`: no snapshot has the layer any more, `unknown`: dedupd is away.
 */
export type LazyLayerState = PackState | "removed" | "unknown";

/** Names as in the JSON. */
export interface LazyLayerView {
  /** Of the layer's blob. */
  readonly digest: string;
  readonly decision: LayerDecision["decision"];
  /** Why it is not lazy, or why it is not filled at the moment; null for nothing to say. */
  readonly reason: string | null;
  /** When it was decided, ISO 8601. */
  readonly time: string;
  /** Null for a layer that was pulled as a whole. */
  readonly state: LazyLayerState | null;
  /** The number of the layer, as `dedup-snapshotter files` takes it. */
  readonly layer: number | null;
  /** Of content that was not on the node; 0 where dedupd does not say. */
  readonly bytes: number;
  readonly present_bytes: number;
  readonly pieces: number;
  readonly present_pieces: number;
  /** From the registry, compressed. */
  readonly fetched_bytes: number;
  /** Content that was read, in whole chunks; what is read of a complete layer is not seen. */
  readonly read_bytes: number;
  /** At the rate of the last minute; null while nothing comes. */
  readonly eta_seconds: number | null;
}

/** The same of all layers together. */
export interface LazyImageView {
  readonly image: string;
  readonly bytes: number;
  readonly present_bytes: number;
  readonly pieces: number;
  readonly present_pieces: number;
  readonly fetched_bytes: number;
  readonly read_bytes: number;
  /** Of the layer that takes longest. */
  readonly eta_seconds: number | null;
  readonly layers: readonly LazyLayerView[];
}

/** What an image has of its layers. */
type Sum = "bytes" | "present_bytes" | "pieces" | "present_pieces" | "fetched_bytes" | "read_bytes";

/** `GET /lazy`. */
export interface LazyView {
  /** Whether layers are made lazy at all. */
  readonly enabled: boolean;
  readonly dedupd: "running" | "away";
  readonly backend: BackendName | null;
  /** Why it is not a better one. */
  readonly backend_reasons: readonly string[];
  readonly images: readonly LazyImageView[];
}

export interface LazyViewSources {
  readonly isEnabled: boolean;
  readonly decisions: readonly LayerDecision[];
  /** Undefined where dedupd is away. */
  readonly dedupd: DedupdView | undefined;
  readonly packOf: (layerId: number) => LayerPack | undefined;
  readonly isReferenced: (layerId: number) => boolean;
}

/** The lazy pack of a layer. */
export interface LayerPack {
  readonly packId: number;
  readonly isComplete: boolean;
}

export function lazyView(sources: LazyViewSources): LazyView {
  const { dedupd, decisions, isEnabled } = sources;
  const statuses = new Map(dedupd?.packs.map((status) => [status.packId, status]));
  const byImage = Map.groupBy(decisions, ({ image }) => image);
  return {
    enabled: isEnabled,
    dedupd: dedupd === undefined ? "away" : "running",
    backend: dedupd?.dedupd.backend ?? null,
    backend_reasons: dedupd?.dedupd.backendReasons ?? [],
    images: [...byImage].map(([image, ofImage]) => {
      const layers = ofImage.map((decision) => layerView(decision, sources, statuses));
      return imageView(image, layers);
    }),
  };
}

function imageView(image: string, layers: readonly LazyLayerView[]): LazyImageView {
  const sum = (key: Sum) => layers.reduce((total, layer) => total + layer[key], 0);
  const etas = layers.flatMap(({ eta_seconds: eta }) => eta ?? []);
  return {
    image,
    bytes: sum("bytes"),
    present_bytes: sum("present_bytes"),
    pieces: sum("pieces"),
    present_pieces: sum("present_pieces"),
    fetched_bytes: sum("fetched_bytes"),
    read_bytes: sum("read_bytes"),
    eta_seconds: etas.length === 0 ? null : Math.max(...etas),
    layers,
  };
}

function layerView(
  decision: LayerDecision,
  { packOf, isReferenced, dedupd }: LazyViewSources,
  statuses: ReadonlyMap<number, PackStatus>,
): LazyLayerView {
  const { digest, decision: decided, layerId, timeNs } = decision;
  const pack = layerId === undefined ? undefined : packOf(layerId);
  const status = pack && statuses.get(pack.packId);
  const known = layerId === undefined || isReferenced(layerId);
  const reason = decision.reason || status?.reason;
  return {
    digest,
    decision: decided,
    reason: reason ?? null,
    time: new Date(Number(timeNs / 1_000_000n)).toISOString(),
    state: layerId === undefined ? null : known ? stateOf(pack, status, dedupd) : "removed",
    layer: layerId ?? null,
    bytes: status?.bytes ?? 0,
    present_bytes: status?.presentBytes ?? 0,
    pieces: status?.pieces ?? 0,
    present_pieces: status?.presentPieces ?? 0,
    fetched_bytes: status?.fetchedBytes ?? 0,
    read_bytes: status?.readBytes ?? 0,
    eta_seconds: status?.etaSeconds ?? null,
  };
}

function stateOf(
  pack: LayerPack | undefined,
  status: PackStatus | undefined,
  dedupd: DedupdView | undefined,
): LazyLayerState {
  if (pack === undefined || pack.isComplete) return "complete";
  return status?.state ?? (dedupd === undefined ? "unknown" : "waiting");
}

/** Rows of the table `snapshots`, and what they mean. */
import { AppError } from "../errors.ts";
import type {
  BlobNote,
  Labels,
  LayerDecision,
  LayerState,
  SnapshotInfo,
  SnapshotKind,
  Usage,
} from "./contract.ts";

/** A snapshot with what clients do not see. */
export interface SnapshotRecord extends SnapshotInfo {
  readonly parentId: number | undefined;
  /** Of committed snapshots only. */
  readonly layer: LayerState | undefined;
  /** Of active snapshots only: the image that Apply made, on top of the parent. */
  readonly appliedLayerId: number | undefined;
  /**
   * Of active snapshots without a parent only: what was applied. Without an applied layer its image
   * has to be made when the parent is known.
   */
  readonly appliedBlob: BlobNote | undefined;
  /** Of a layer that was made of a table of contents (contract.ts), also when it is complete. */
  readonly tocDigest: string | undefined;
  /** Of the layer, as it was when it was made; zero before. */
  readonly usage: Usage;
}

/** Integers arrive as bigint, because the times exceed what a double holds. */
export interface SnapshotRow {
  readonly id: bigint;
  readonly name: string;
  readonly parent_id: bigint | null;
  readonly parent_name: string | null;
  readonly kind: SnapshotKind;
  readonly created_ns: bigint;
  readonly updated_ns: bigint;
  readonly labels: string;
  readonly layer_id: bigint | null;
  readonly plain_reason: string | null;
  readonly applied_layer_id: bigint | null;
  readonly applied_blob: string | null;
  readonly toc_digest: string | null;
  readonly size_bytes: bigint;
  readonly inodes: bigint;
}

/** A committed snapshot in the line of ancestors of another. */
export interface ChainLink {
  readonly id: number;
  readonly layer: LayerState;
}

export interface ChainRow {
  readonly id: bigint;
  readonly layer_id: bigint | null;
  readonly plain_reason: string | null;
}

export function recordOf(row: SnapshotRow): SnapshotRecord {
  return {
    id: Number(row.id),
    name: row.name,
    parent: row.parent_name ?? "",
    parentId: row.parent_id === null ? undefined : Number(row.parent_id),
    kind: row.kind,
    createdNs: row.created_ns,
    updatedNs: row.updated_ns,
    labels: decodeLabels(row.labels, row.name),
    layer: row.kind === "committed" ? layerOf(row) : undefined,
    appliedLayerId: row.applied_layer_id === null ? undefined : Number(row.applied_layer_id),
    appliedBlob: row.applied_blob === null ? undefined : decodeBlob(row.applied_blob, row.name),
    tocDigest: row.toc_digest ?? undefined,
    usage: { sizeBytes: Number(row.size_bytes), inodes: Number(row.inodes) },
  };
}

export function chainLinkOf(row: ChainRow): ChainLink {
  return { id: Number(row.id), layer: layerOf(row) };
}

function layerOf(row: ChainRow): LayerState {
  if (row.layer_id !== null) return { kind: "image", layerId: Number(row.layer_id) };
  return { kind: "plain", reason: row.plain_reason ?? "" };
}

/** A row of the table `claims`. */
export interface DecisionRow {
  readonly image: string;
  readonly digest: string;
  readonly decision: LayerDecision["decision"];
  readonly reason: string;
  readonly time_ns: bigint;
  readonly layer_id: bigint | null;
}

export function decisionOf(row: DecisionRow): LayerDecision {
  const { image, digest, decision, reason, time_ns: timeNs } = row;
  const layerId = row.layer_id === null ? undefined : Number(row.layer_id);
  return { image, digest, decision, reason, timeNs, layerId };
}

/** Pairs rather than an object: an object has no place for a label named `__proto__`. */
export function encodeLabels(labels: Labels): string {
  return JSON.stringify([...labels]);
}

function decodeLabels(json: string, name: string): Labels {
  return decode(`the labels of snapshot "${name}"`, () => {
    return new Map(JSON.parse(json) as [string, string][]);
  });
}

export function encodeBlob({ digest, sizeBytes, namespace }: BlobNote): string {
  return JSON.stringify({ digest, sizeBytes, namespace });
}

function decodeBlob(json: string, name: string): BlobNote {
  return decode(`the blob of snapshot "${name}"`, () => JSON.parse(json) as BlobNote);
}

function decode<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new AppError("data_loss", `Cannot read ${what}`, { cause: error });
  }
}

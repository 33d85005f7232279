/**
 * What containerd says of a layer when it asks for a snapshot to unpack it to, if it is configured
 * to: which image it is of, and which of its blobs it is made of.
 *
 * The labels are those of remote snapshotters (pkg/snapshotters/annotations.go). CRI sets them with
 * `disable_snapshot_annotations = false`, the transfer service for proxy plugins that export
 * `enable_remote_snapshot_annotations`.
 *
 * @module
 */
import type { Labels } from "./contract.ts";

/**
 * Of a snapshot that a layer is unpacked to: the chain ID that the layer gets
 * (core/snapshots/snapshotter.go). Clients set it without the others, too.
 */
export const targetLabel = "containerd.io/snapshot.ref";
const imageLabel = "containerd.io/snapshot/cri.image-ref";
const manifestLabel = "containerd.io/snapshot/cri.manifest-digest";
const layerLabel = "containerd.io/snapshot/cri.layer-digest";

export interface ClaimLabels {
  readonly target: string;
  readonly image: string;
  readonly manifestDigest: string;
  readonly layerDigest: string;
}

/** Undefined where one of them is missing: then the layer is pulled as ever. */
export function claimLabels(labels: Labels): ClaimLabels | undefined {
  const target = labels.get(targetLabel);
  const image = labels.get(imageLabel);
  const manifestDigest = labels.get(manifestLabel);
  const layerDigest = labels.get(layerLabel);
  if (!target || !image || !manifestDigest || !layerDigest) return undefined;
  return { target, image, manifestDigest, layerDigest };
}

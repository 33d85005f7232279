/**
 * Layers that are unpacked before the layers below them are there.
 *
 * containerd from 2.3 on, told that a snapshotter can "rebase", unpacks the layers of an image side
 * by side (core/unpack/unpacker.go): it prepares every one without a parent, applies its blob, and
 * names the parent when it commits them, one after the other. That a snapshot will lie on another
 * one it tells by a label. It matters before the commit: only a layer that lies on others keeps
 * what it deletes of them.
 *
 * Such a snapshot we mount as an overlay over an empty directory, so that containerd's own differ
 * keeps deletions too (core/diff/apply/apply_linux.go converts them for overlays alone).
 *
 * containerd 2.2 has no such label. There, what Apply made is made again at Commit where it turns
 * out otherwise; but of what containerd's differ unpacked to a plain directory, the deletions are
 * lost, so a Commit of that is refused.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { Labels, SnapshotInfo } from "./contract.ts";

/** Of a snapshot that is to lie on another one: the chain ID of that. */
const parentChainLabel = "containerd.io/snapshot/parent-chain-id";
/** Of a snapshot that a layer is unpacked to (core/snapshots/snapshotter.go). */
export const targetLabel = "containerd.io/snapshot.ref";

/** Whether an active snapshot without a parent will get one when it is committed. */
export function isDetached({ labels, parent }: { labels: Labels; parent: string }): boolean {
  return parent === "" && labels.has(parentChainLabel);
}

/** Throws `failed_precondition` for an unpacked layer whose deletions are lost. */
export function refuseLostDeletions({ name, labels, parent }: SnapshotInfo): void {
  if (!labels.has(targetLabel) || isDetached({ labels, parent })) return;
  const problem = "was unpacked as one without a parent, and so lost what it deletes";
  throw new AppError("failed_precondition", `Snapshot "${name}" ${problem}`, {
    remedy:
      'take "rebase" out of the capabilities of the proxy plugin: ' +
      "this version of containerd does not say which layers lie on others",
  });
}

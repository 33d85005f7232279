/**
 * Who is compared: snapshotters of the same containerd, and our own second builder.
 *
 * @module
 */
import { containerd21WithDiff, type Flavour } from "../../../test/support/containerd-flavours.ts";
import type { DaemonOptions } from "../../../test/support/daemon.ts";
import { goArchitecture } from "../../../test/support/image/oci.ts";

export type ContenderName = "overlayfs" | "erofs" | "dedup" | "dedup mkfs";

export interface Contender {
  readonly name: ContenderName;
  /** What containerd knows it as. */
  readonly snapshotter: "overlayfs" | "erofs" | "dedup";
  /** Undefined where our daemon has no part. */
  readonly daemon?: DaemonOptions;
  /** Whether mkfs.erofs writes its images, the one of Debian forky. */
  readonly usesMkfs?: true;
}

/**
 * containerd 2.1 with every snapshotter of the comparison, each with its own differ. The erofs ones
 * are built in; as configured, they make one uncompressed image per layer and mount the file.
 */
export const containerd21WithErofs: Flavour = {
  ...containerd21WithDiff,
  name: "containerd 2.1 with the Diff service and erofs",
  config: (paths) => `${containerd21WithDiff.config(paths)}
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/${goArchitecture()}"
  snapshotter = "erofs"
  differ = "erofs"
`,
};

/** As a node has it: layers stay mounted a while, and the log says little. */
const asInstalled = { idleTimeoutMs: 10_000, logLevel: "info" } as const;

export const contenders: readonly Contender[] = [
  { name: "overlayfs", snapshotter: "overlayfs" },
  { name: "erofs", snapshotter: "erofs" },
  { name: "dedup", snapshotter: "dedup", daemon: asInstalled },
  { name: "dedup mkfs", snapshotter: "dedup", daemon: asInstalled, usesMkfs: true },
];

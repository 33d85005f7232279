/**
 * What a snapshot is, and what the snapshotter asks of its neighbours.
 *
 * Vocabulary (containerd, core/snapshots/snapshotter.go): a snapshot is *active* (read-write, has a
 * directory of its own), a *view* (read-only) or *committed* (immutable, may be a parent). Active
 * snapshots and views are known by a *key*, committed ones by a *name*; both live in one name
 * space. A *layer* is the stored difference of a committed snapshot to its parent: an EROFS image
 * (shared by all snapshots with the same difference) or, where conversion failed, the plain
 * directory.
 *
 * Life of a layer: Prepare gives a directory to write to; Commit turns the directory into an image
 * and drops it; Prepare or View on top of it mounts the image; Remove of the last snapshot that
 * uses the image deletes it.
 *
 * Invariants: a committed snapshot is never changed but in its labels; a snapshot with children is
 * never removed; what a committed snapshot refers to is durable before the snapshot is visible.
 *
 * @module
 */

export type SnapshotKind = "view" | "active" | "committed";

export interface SnapshotInfo {
  /** Never used again after removal; names the snapshot's directory. */
  readonly id: number;
  readonly name: string;
  /** Empty where there is none. */
  readonly parent: string;
  readonly kind: SnapshotKind;
  readonly createdNs: bigint;
  readonly updatedNs: bigint;
  readonly labels: ReadonlyMap<string, string>;
}

/** A mount for the client to make, as containerd's API has it. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface Usage {
  readonly sizeBytes: number;
  readonly inodes: number;
}

/** How a committed snapshot is kept. */
export type LayerState =
  | { readonly kind: "image"; readonly layerId: number }
  | { readonly kind: "plain"; readonly reason: string };

export interface ConvertedLayer {
  readonly layerId: number;
  /** Bytes on disk that came with this layer: new chunks and the image. */
  readonly addedBytes: number;
  readonly inodes: number;
  /** True where an identical image was there already. */
  readonly reused: boolean;
}

/** Makes images of directories and deletes them (`layer/`). */
export interface LayerStore {
  /**
   * Converts a directory into a published, durable image. The layer cannot be deleted before
   * `settle` was called for it, whether or not a snapshot refers to it by then. Rejects with an
   * `AppError` that says why; nothing is left behind then.
   *
   * @param label names the layer in the log
   */
  convert(directory: string, label: string): Promise<ConvertedLayer>;
  /** Ends the protection that `convert` gave; call once per conversion, after the snapshot's commit. */
  settle(layerId: number): void;
  /** Deletes those of the layers that no snapshot refers to and nothing protects. */
  release(layerIds: readonly number[]): Promise<void>;
}

/** Keeps images mounted, each at most once, as long as somebody needs them (`mount/`). */
export interface LayerMounts {
  /**
   * Mounts what is not mounted yet. Held until `release` is called with the same holder; a second
   * call for a holder adds to what it holds.
   */
  acquire(holder: string, layerIds: readonly number[]): Promise<void>;
  /** Never fails; the unmounting happens later. */
  release(holder: string): void;
  /** Unmounts now, if nothing holds the layer; its image is about to be deleted. */
  evict(layerId: number): Promise<void>;
  /** Where the layer is, or will be, mounted; absolute. */
  directory(layerId: number): string;
}

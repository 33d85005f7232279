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
import type { BlobRange } from "../lazy/model.ts";
import type { TocClaim } from "../lazy/open.ts";

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
  readonly labels: Labels;
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

export type Labels = ReadonlyMap<string, string>;

export interface CommitOptions {
  /** Replace the labels of the active snapshot; they are not inherited. */
  readonly labels: Labels;
  /** Gives a snapshot prepared without a parent one ("rebase"); empty where there is none. */
  readonly parent: string;
}

/**
 * The operations, as containerd's service has them; what `rpc/` serves and `Snapshotter` does.
 *
 * What an operation resolved with survives the end of the process and of the machine. The classes
 * of errors are those of containerd's overlay snapshotter: `not_found` for a missing snapshot or
 * parent, `already_exists` for a taken key or name, `invalid_argument` for a parent that is not
 * committed, `failed_precondition` for an operation on the wrong kind of snapshot.
 */
export interface SnapshotService {
  prepare(key: string, parent: string, labels: Labels): Promise<readonly Mount[]>;
  view(key: string, parent: string, labels: Labels): Promise<readonly Mount[]>;
  mounts(key: string): Promise<readonly Mount[]>;
  commit(name: string, key: string, options: CommitOptions): Promise<void>;
  remove(key: string): Promise<void>;
  stat(key: string): SnapshotInfo;
  /**
   * Changes labels; a label given an empty value is removed.
   *
   * @param fieldPaths `labels` or `labels.<key>`; none stands for `labels`
   */
  update(name: string, labels: Labels, fieldPaths: readonly string[]): Promise<SnapshotInfo>;
  /**
   * The snapshots that match any of the filters (filter.ts), all if there is none, oldest first,
   * in pages. Throws `invalid_argument` at once for a bad filter. May be left off at any page; a
   * snapshot that exists all the while is listed once.
   */
  list(filters: readonly string[]): Iterable<readonly SnapshotInfo[]>;
  usage(key: string): Promise<Usage>;
  /** Resolves when what removed snapshots left on disk is deleted. */
  cleanup(): Promise<void>;
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

/** What is kept of a blob to open it again. */
export interface BlobNote {
  /** Of the bytes as they are; `sha256:<hexadecimal>` or `sha512:<hexadecimal>`. */
  readonly digest: string;
  readonly sizeBytes: number;
  /** containerd's, in which the blob is known. */
  readonly namespace: string | undefined;
}

/** A layer as a registry has it: a tar, perhaps compressed. */
export interface LayerBlob extends BlobNote {
  /** Where it lies as a file, if it does and we may read it. */
  readonly file: string;
  /** Reads a part of it where there is no file. */
  readonly read: (offsetBytes: number, lengthBytes: number) => Promise<Uint8Array>;
}

/** What a layer lies on. */
export interface LayerBase {
  /** Of the root directory, where the layer says nothing of it; `mode` as `st_mode`. */
  readonly root: { readonly mode: number; readonly uid: number; readonly gid: number };
  /**
   * The directories of the layers below, images mounted; nearest first. `unknown`: there are some,
   * but not yet.
   */
  readonly lower: readonly string[] | "unknown";
}

/** What a blob turned out to hold. */
export interface AppliedBlob {
  /** The digest of the tar. */
  readonly diffId: string;
  readonly tarBytes: number;
}

export type BlobLayer = ConvertedLayer & AppliedBlob;

/** A layer of which only the table of contents was read. */
export interface LazyTable {
  /** Of the blob, `sha256:…`. */
  readonly digest: string;
  readonly sizeBytes: number;
  /** Where the content is to be fetched from, as the user named it. */
  readonly image: string;
  /** What the manifest says of the table. */
  readonly claim: TocClaim;
  /** Where the table lies in the blob. */
  readonly range: BlobRange;
  /** The table as it lies there, not verified. */
  readonly toc: Uint8Array;
}

/** A layer that was made without its blob. */
export interface ClaimedLayer extends ConvertedLayer {
  /** Whether it has content in a pack of its own, there or not. */
  readonly isLazy: boolean;
  readonly packId: number | undefined;
  /** `fetching`: of its content some is missing, or not known to be on disk. */
  readonly state: "fetching" | "complete";
  /** Up to where in the blob its author wants content first, where the layer was made just now. */
  readonly prefetchEndBytes?: number;
  /** The digest of the tar, where the layer was made of one. */
  readonly diffId?: string;
  /**
   * Where the layer was made of a table of contents: the digest by which the manifest of its image
   * names the table. It is for no image whose manifest does not.
   */
  readonly tocDigest?: string;
}

/** Makes images of directories and blobs, and deletes them (`layer/`). */
export interface LayerStore {
  /**
   * Converts a directory into a published, durable image. The layer cannot be deleted before
   * `settle` was called for it, whether or not a snapshot refers to it by then. Rejects with an
   * `AppError` that says why; nothing is left behind then.
   *
   * @param label names the layer in the log
   */
  convert(directory: string, label: string): Promise<ConvertedLayer>;
  /**
   * The same of a blob, without a directory. Reads nothing where the blob was applied before and
   * its layer is still there.
   *
   * Rejects with `data_loss` where the blob is not the one the digest says, with `cancelled` after
   * `signal`, with `unimplemented` where the blob is right, but cannot be made an image of; with
   * `failed_precondition` where it takes something from layers below that are unknown.
   */
  apply(blob: LayerBlob, base: LayerBase, signal: AbortSignal): Promise<BlobLayer>;
  /** What `apply` would find without building: the layer of a blob that was applied before. */
  find(blob: BlobNote, base: LayerBase): Promise<BlobLayer | undefined>;
  /** What a blob holds; makes nothing of it. Rejects as `apply` does. */
  inspect(blob: LayerBlob, signal: AbortSignal): Promise<AppliedBlob>;
  /** Ends the protection that `convert`, `apply` or `find` gave; after the transaction. */
  settle(layerId: number): void;
  /** Deletes those of the layers that no snapshot refers to and nothing protects. */
  release(layerIds: readonly number[]): Promise<void>;
}

/** Makes layers without their blobs (`layer/`). */
export interface LazyLayerStore extends Pick<LayerStore, "settle" | "release"> {
  /**
   * Makes a layer of a table of contents; its content is fetched when it is read, or later. The
   * layer is protected until it is settled.
   *
   * Rejects with `data_loss` where the table is not the one the manifest means, with
   * `failed_precondition` where the layer takes something from layers below that are unknown, with
   * `cancelled` after `signal`, and with whatever else says why the layer cannot be lazy.
   */
  claim(table: LazyTable, base: LayerBase, signal: AbortSignal): Promise<ClaimedLayer>;
  /**
   * What `apply` made of the blob before, or `claim` of the table that the image names, protected;
   * nothing is read or asked for.
   */
  findClaimed(
    digest: string,
    tocDigest: string | undefined,
    base: LayerBase,
  ): Promise<ClaimedLayer | undefined>;
}

/** A layer of an image. */
export interface LayerName {
  /** The image as the user named it. */
  readonly image: string;
  readonly manifestDigest: string;
  /** Of the layer's blob. */
  readonly layerDigest: string;
  /** containerd's, in which the manifest is known. */
  readonly namespace: string | undefined;
}

/** A layer that need not be downloaded, perhaps, and what containerd says of it. */
export interface ClaimRequest extends LayerName {
  /** The chain ID that the layer gets. */
  readonly target: string;
  /** That of the parent, where it is known; empty where there is no parent. */
  readonly parentTarget: string | undefined;
  readonly base: LayerBase;
  /** The same with the directories below, which are mounted for it. */
  readonly mountedBase: () => Promise<LayerBase>;
}

/** What was decided of a layer that could have been lazy. */
export interface LayerDecision {
  readonly image: string;
  /** Of the layer's blob. */
  readonly digest: string;
  /** `present`: all of its content was on the node already. */
  readonly decision: "lazy" | "present" | "not lazy";
  /** For people; empty where there is nothing to explain. */
  readonly reason: string;
  readonly timeNs: bigint;
  /** What was made of it; undefined where it is pulled. */
  readonly layerId: number | undefined;
}

/** Decides which layers are made without their blobs, and has them made (`claim/`). */
export interface LayerClaims {
  /**
   * Resolves with a layer that is protected until it is settled; with undefined where it has to be
   * pulled. Never rejects, and takes no longer than it was configured to.
   */
  claim(request: ClaimRequest): Promise<ClaimedLayer | undefined>;
  /**
   * Whether the manifest of the image names this table of contents for the layer, so that a layer
   * that was made of it for another image will do; else the layer has to be pulled. Never rejects.
   */
  names(request: LayerName, tocDigest: string): Promise<boolean>;
  /** Of the root directory of a layer, which need not be mounted. */
  rootOf(layerId: number): LayerBase["root"];
}

/** Work on whole trees, which blocks and so is done in another thread. */
export interface TreeWorker {
  /** Deletes a directory with all it holds, however deep; no error if it is not there. */
  removeTree(path: string): Promise<void>;
  /** Writes everything on the file system that `path` is on to disk: syncfs(2). */
  syncFilesystem(path: string): Promise<void>;
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

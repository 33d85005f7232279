/**
 * What on-demand loading consists of, and what its parts ask of each other.
 *
 * A *lazy layer* is mounted before its content is on the node. Its image has all metadata; what the
 * node did not have of its content lies in a *lazy pack*: a sparse file of its own, a range of the
 * block space like any pack (store/layout.ts), whose holes are filled when somebody reads them. A
 * *piece* is what can be fetched and verified alone: a chunk of the table of contents. Each file
 * begins at a block of the pack, its pieces follow each other without a gap.
 *
 * Files of a lazy pack, in `packs/` of the root:
 *
 * - `<id>.pack`: the content;
 * - `<id>.pieces`: what belongs where, and where it comes from (piece-map.ts); written and synced
 *   before the layer is published, never changed;
 * - `<id>.have`, `<id>.synced`: which pieces are there (presence.ts).
 *
 * `serve` makes and deletes lazy packs; `dedupd`, a process of its own, fills them. A *backend* is
 * how the kernel tells dedupd what it needs; all backends keep these rules:
 *
 * 1. A byte is given to a reader only after the SHA-256 of its piece matched.
 * 2. Every request is answered, exactly once.
 * 3. What cannot be fetched in time is an error to its reader, never zeros; the next read asks
 *    again.
 *
 * @module
 */
import type { PieceMap } from "./piece-map.ts";
import type { Presence } from "./presence.ts";
import type { PieceRead } from "./read-log.ts";

/** A lazy pack, opened by dedupd. */
export interface LazyPack {
  readonly packId: number;
  /** Absolute path of `<id>.pack`. */
  readonly path: string;
  /** Open for reading and writing, from before the kernel was told to watch the file. */
  readonly file: number;
  readonly pieces: PieceMap;
  readonly presence: Presence;
}

/** Somebody waits for these bytes of a pack. */
export interface ReadRequest {
  readonly packId: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/**
 * Resolves when all bytes of the request are in the pack, verified; rejects with an AppError
 * when that did not happen in `lazy.read_timeout_ms`. Given to a backend by the filler.
 */
export type Demand = (request: ReadRequest) => Promise<void>;

export type BackendName = "fanotify" | "fuse" | "eager";

/** A pack from which zeros may have been read, because no process of ours watched it. */
export interface SuspectPack {
  readonly packId: number;
  /** The first process of each container that has it in its root. */
  readonly users: readonly {
    readonly pid: number;
    readonly command: string;
    readonly cgroup: string;
  }[];
  /** Pages of its images that may be zeros and could not be dropped, because they are mapped. */
  readonly staleCachedPages: number;
}

/** A pack that was exposed by the process before, and cannot be exposed again so far. */
export interface UnservedPack {
  readonly packId: number;
  readonly reason: string;
}

/** How the kernel asks for bytes that are not there. */
export interface LazyBackend {
  readonly name: BackendName;
  /**
   * From when it resolves, a read of the file at the returned path waits for missing bytes. What
   * is exposed already is exposed again at no cost. The path is one that EROFS takes for a
   * device (or a loop device is attached to).
   */
  expose(pack: LazyPack): Promise<string>;
  /** All pieces are there and on disk: requests are no longer needed, where that can be so. */
  complete(pack: LazyPack): Promise<void>;
  /** Nothing has the pack mounted any more; it is about to be closed. */
  withdraw(packId: number): Promise<void>;
  /** Until they are withdrawn; backends that never give zeros have none. */
  suspects?(): readonly SuspectPack[];
  /** Pieces that were there when they were read first, since the last time somebody asked. */
  takeReads?(): Iterable<PieceRead>;
  /** Lets go of the kernel channel; who reads then waits for the next process that adopts it. */
  close(): Promise<void>;
}

/**
 * What a channel to the kernel needs from whoever keeps it open between two processes of ours
 * (keeper.ts, or systemd's fd store). Names are `fanotify`, `fuse`.
 */
export interface ChannelKeeper {
  /** A duplicate of the channel an earlier process had; undefined where there is none. */
  adopt(name: string): Promise<number | undefined>;
  /** Keeps a duplicate from now on, in the place of the one it had by that name. */
  keep(name: string, fd: number): Promise<void>;
}

/** Demand overtakes prefetch, prefetch overtakes background completion. */
export const priority = { demand: 0, prefetch: 1, background: 2 } as const;

export type Priority = (typeof priority)[keyof typeof priority];

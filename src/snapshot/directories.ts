/**
 * The directories of snapshots: `<root>/snapshots/<id>/fs` is what the snapshot adds to its parent
 * (the upper directory of the overlay), `<id>/work` is overlayfs's own, `<id>/below` is empty: what
 * a snapshot lies on as long as its parent is unknown.
 *
 * A directory is made before its snapshot is in the metadata and deleted after it is gone from
 * there; so every snapshot has its directory, and one without a snapshot is garbage.
 *
 * @module
 */
import { closeSync, fsync, mkdirSync, openSync, readdirSync, type Stats } from "node:fs";
import { chmod, chown, mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { SyscallError } from "../../ffi/errno.ts";
import { spreadSubdirectories } from "../../ffi/inode-flags.ts";
import { AppError } from "../errors.ts";
import { settled } from "../util/settled.ts";
import type { SnapshotKind, TreeWorker } from "./contract.ts";

/** As containerd's overlay snapshotter: the root folder, a layer's root, overlayfs's folder. */
const rootMode = 0o700;
const upperMode = 0o755;
const workMode = 0o711;
const permissionBits = 0o7777;

const fsyncAsync = promisify(fsync);

/** Separators of overlayfs's mount options, which a path in them cannot hold. */
const optionSeparators = /[,:\\]/;

export class SnapshotDirectories {
  /** `<root>/snapshots`. */
  readonly path: string;
  readonly #trees: Pick<TreeWorker, "removeTree">;

  /** Makes the folder where it is missing. Throws `invalid_argument` for an unusable root. */
  constructor(root: string, trees: Pick<TreeWorker, "removeTree">) {
    this.#trees = trees;
    if (optionSeparators.test(root)) {
      const problem = `The root "${root}" has a comma, colon or backslash`;
      throw new AppError("invalid_argument", `${problem}, which overlayfs cannot take`);
    }
    this.path = join(root, "snapshots");
    mkdirSync(this.path, { recursive: true, mode: rootMode });
    spread(this.path);
  }

  upper(id: number): string {
    return join(this.path, String(id), "fs");
  }

  work(id: number): string {
    return join(this.path, String(id), "work");
  }

  below(id: number): string {
    return join(this.path, String(id), "below");
  }

  /**
   * Makes the directory of a snapshot. The root of a layer hides that of the parent, so it gets
   * the parent's owner, group and permissions.
   *
   * A container that starts waits for this, so that what can be done at once is.
   *
   * @param parent the root directory of the parent, as it is mounted
   */
  async create(id: number, kind: SnapshotKind, parent: string | undefined): Promise<void> {
    await mkdir(join(this.path, String(id)), { mode: rootMode });
    await settled([
      makeUpper(this.upper(id), parent),
      kind === "active" && makeDirectory(this.work(id), workMode),
    ]);
  }

  /** Owner and permissions of the directory of a layer that is kept as one. */
  statUpper(id: number): Promise<Stats> {
    return stat(this.upper(id));
  }

  /** Makes the empty directory, in that of a snapshot whose parent is unknown. */
  createBelow(id: number): Promise<void> {
    return mkdir(this.below(id), { mode: upperMode });
  }

  /** Resolves when what `create` made would be found after a loss of power. */
  async sync(id: number): Promise<void> {
    const own = join(this.path, String(id));
    await Promise.all([this.upper(id), own, this.path].map(syncDirectory));
  }

  /** Deletes the directory with all it holds; no error if it is not there. */
  remove(name: number | string): Promise<void> {
    return this.#trees.removeTree(join(this.path, String(name)));
  }

  /** The names in the folder: the ids of snapshots, and whatever else is there. */
  list(): Promise<string[]> {
    return readdir(this.path);
  }

  listSync(): string[] {
    return readdirSync(this.path);
  }
}

/**
 * Containers have nothing to do with each other, so their files need not lie together. Without a
 * journal ext4 keeps the inodes of deleted files back for minutes, and looks at all of those in the
 * block group for each new file (recently_deleted() in fs/ext4/ialloc.c): a container that makes
 * many files would wait for what the ones before it have deleted.
 */
function spread(path: string): void {
  try {
    spreadSubdirectories(path);
  } catch (error) {
    // Other file systems have no such flag, and need none.
    if (!(error instanceof SyscallError)) throw error;
  }
}

async function makeUpper(path: string, parent: string | undefined): Promise<void> {
  const [status] = await settled([parent === undefined ? undefined : stat(parent), mkdir(path)]);
  // Owner first: chown(2) clears setuid and setgid.
  if (status !== undefined) await chown(path, status.uid, status.gid);
  await chmod(path, status === undefined ? upperMode : status.mode & permissionBits);
}

async function makeDirectory(path: string, mode: number): Promise<void> {
  await mkdir(path);
  // Set apart from mkdir, whose mode the umask cuts.
  await chmod(path, mode);
}

/** The id a name in the folder stands for. */
export function idOfDirectory(name: string): number | undefined {
  return /^[1-9]\d{0,14}$/.test(name) ? Number(name) : undefined;
}

/** @param path of a directory that was just used: the kernel knows it without asking the disk */
async function syncDirectory(path: string): Promise<void> {
  const fd = openSync(path, "r");
  try {
    await fsyncAsync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * What it takes to mount a layer.
 *
 * A layer is one EROFS image (the primary device: metadata) and the packs its device table lists,
 * in that order (content). The kernel reads them as files (*file* method, Linux 6.12 or newer) or
 * through loop devices (*loop* method, any kernel); with direct I/O where the file system of the
 * root allows it, so that content is cached once, as pages of the EROFS files.
 *
 * A layer is mounted at most once, at a *target* named after it; every overlay that stacks it
 * shares that mount, and so its page cache.
 *
 * @module
 */

export type MountMethod = "file" | "loop";

export interface ImageFiles {
  /** Absolute path of the EROFS image. */
  readonly image: string;
  /** Absolute paths of the packs, in the order of the image's device table. */
  readonly packs: readonly string[];
}

/** How this node mounts images; found by `probe.ts`, by trying. */
export interface MountMode {
  readonly method: MountMethod;
  readonly directIo: boolean;
}

/** The kernel side, which may block: it runs in a worker thread (`erofs-mount.ts`). */
export interface MountDriver {
  /** Makes the directory `target` if it is not there. Leaves nothing behind when it rejects. */
  mount(files: ImageFiles, target: string): Promise<void>;
  /**
   * Unmounts whatever is mounted at `target`, however often, and removes the directory; no error
   * if nothing is there. Rejects while a process uses the mount.
   */
  unmount(target: string): Promise<void>;
}

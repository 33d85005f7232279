/** Where things lie below the root; the one place that knows. */
import { join } from "node:path";

export interface StorePaths {
  readonly root: string;
  readonly lock: string;
  readonly indexDatabase: string;
  readonly snapshotDatabase: string;
  readonly packs: string;
  readonly images: string;
  readonly mounts: string;
  readonly snapshots: string;
  /** Says under which address the admin API of the running daemon listens. */
  readonly apiAddress: string;
  /** Exists while a daemon runs; found at start, it tells of a crash. */
  readonly runningMarker: string;
}

export function storePaths(root: string): StorePaths {
  return {
    root,
    lock: join(root, "lock"),
    indexDatabase: join(root, "index.db"),
    snapshotDatabase: join(root, "snapshots.db"),
    packs: join(root, "packs"),
    images: join(root, "images"),
    mounts: join(root, "mounts"),
    snapshots: join(root, "snapshots"),
    apiAddress: join(root, "api.address"),
    runningMarker: join(root, "running"),
  };
}

export function packPath(paths: Pick<StorePaths, "packs">, packId: number): string {
  return join(paths.packs, `${packId}.pack`);
}

export function imagePath(paths: Pick<StorePaths, "images">, layerId: number): string {
  return join(paths.images, `${layerId}.erofs`);
}

/** The number in a file name such as `12.pack`; undefined for any other name. */
export function numberInName(name: string, suffix: ".pack" | ".erofs" | ""): number | undefined {
  if (!name.endsWith(suffix)) return undefined;
  const digits = name.slice(0, name.length - suffix.length);
  return /^[1-9][0-9]{0,14}$/.test(digits) ? Number(digits) : undefined;
}

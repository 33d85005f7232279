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
  /** What the starts of images read first. */
  readonly traces: string;
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
    traces: join(root, "traces"),
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

/** What lies beside a lazy pack; `src/ondemand/contract.ts` says what is in them. */
const sidecarSuffixes = [".pieces", ".have", ".synced"] as const;
/** There as long as dedupd has the pack open, or will open it again: dedupd alone removes it. */
const markerSuffix = ".exposed";

/** What belongs where in a lazy pack. */
export function piecesPath(paths: Pick<StorePaths, "packs">, packId: number): string {
  return join(paths.packs, `${packId}.pieces`);
}

/** Of a pack that dedupd has exposed. */
export function exposedMarkerPath(paths: Pick<StorePaths, "packs">, packId: number): string {
  return join(paths.packs, `${packId}${markerSuffix}`);
}

/** The pack of a marker; undefined for any other file. */
export function packOfMarker(name: string): number | undefined {
  return numberInName(name, markerSuffix);
}

/** All files that go with a lazy pack; the pack itself, whose name keeps its number, comes last. */
export function lazyPackFiles(paths: Pick<StorePaths, "packs">, packId: number): string[] {
  const sidecars = sidecarSuffixes.flatMap((suffix) => [suffix, `${suffix}.new`]);
  return [...sidecars, ".pack"].map((suffix) => join(paths.packs, `${packId}${suffix}`));
}

/** The pack that a file beside lazy packs belongs to; undefined for any other file. */
export function packOfSidecar(name: string): number | undefined {
  const whole = name.replace(/\.new$/, "");
  for (const suffix of sidecarSuffixes) {
    const packId = numberInName(whole, suffix);
    if (packId !== undefined) return packId;
  }
  return undefined;
}

/** The number in a file name such as `12.pack`; undefined for any other name. */
export function numberInName(name: string, suffix: string): number | undefined {
  if (!name.endsWith(suffix)) return undefined;
  const digits = name.slice(0, name.length - suffix.length);
  return /^[1-9][0-9]{0,14}$/.test(digits) ? Number(digits) : undefined;
}

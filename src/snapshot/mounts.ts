/**
 * From a chain of layers to the mounts a client has to make: a bind or an overlay, as containerd's
 * overlay snapshotter returns them.
 *
 * The same image may occur twice in a chain: two layers of the same content, such as "remove the
 * package lists", are one image. overlayfs refuses a lower directory that it has already (ELOOP,
 * "conflicting lowerdir path"), and by inode, so that another path to it does not help. Leaving out
 * all but the nearest of them changes nothing. Let A be the image and p a path. If A has an entry
 * at p, the nearest A decides whether what is further down shows at p (it does if the entry is a
 * directory that is not opaque, then for names A has no entry for), and the further A has the same
 * entry, so it has nothing to add and hides nothing that the nearest A does not hide. If A has no
 * entry at p, neither of them matters at p. (Directories that overlayfs renamed by
 * `redirect_dir=on` would look elsewhere for what is below them; we never turn that on.)
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Labels, LayerMounts, Mount, SnapshotKind } from "./contract.ts";
import { isDetached } from "./detached.ts";
import type { SnapshotDirectories } from "./directories.ts";
import { isMissingFile } from "./failures.ts";
import type { ChainLink } from "./rows.ts";

export const overlayParameters = "/sys/module/overlay/parameters";

export interface MountPlaces {
  readonly directories: SnapshotDirectories;
  readonly mounts: Pick<LayerMounts, "directory">;
  /** The folder where the kernel module has its parameters. */
  readonly overlayParameters: string;
}

/** The images in the chain, each once, nearest first. */
export function imagesOf(chain: readonly ChainLink[]): number[] {
  const ids = chain.flatMap(({ layer }) => (layer.kind === "image" ? [layer.layerId] : []));
  return [...new Set(ids)];
}

/** Where the content of a committed snapshot is, once its image is mounted. */
export function layerDirectory(places: MountPlaces, link: ChainLink): string {
  const { directories, mounts } = places;
  return link.layer.kind === "image"
    ? mounts.directory(link.layer.layerId)
    : directories.upper(link.id);
}

export interface MountedSnapshot {
  readonly id: number;
  readonly kind: SnapshotKind;
  /** Empty for none. */
  readonly parent: string;
  readonly labels: Labels;
}

/** @param chain the ancestors of the snapshot, nearest first */
export function mountsFor(
  places: MountPlaces,
  snapshot: MountedSnapshot,
  chain: readonly ChainLink[],
): Mount[] {
  const isWritable = snapshot.kind === "active";
  const upper = places.directories.upper(snapshot.id);
  const [nearest] = chain;
  const isAlone = nearest === undefined && !(isWritable && isDetached(snapshot));
  if (isAlone) return [bind(upper, isWritable)];
  if (!isWritable && nearest !== undefined && chain.length === 1) {
    return [bind(layerDirectory(places, nearest), false)];
  }

  const lower = new Set(chain.map((link) => layerDirectory(places, link)));
  // Without an upper directory overlayfs wants two lower ones; the view's own is empty.
  if (!isWritable && lower.size === 1) lower.add(upper);
  if (lower.size === 0) lower.add(places.directories.below(snapshot.id));
  const options = overlayOptions(places.overlayParameters);
  if (isWritable) {
    options.push(`workdir=${places.directories.work(snapshot.id)}`, `upperdir=${upper}`);
  }
  options.push(`lowerdir=${[...lower].join(":")}`);
  return [{ type: "overlay", source: "overlay", options }];
}

function bind(source: string, isWritable: boolean): Mount {
  return { type: "bind", source, options: [isWritable ? "rw" : "ro", "rbind"] };
}

/** Asked for each mount: the module may be loaded, and its parameters changed, at any time. */
function overlayOptions(parameters: string): string[] {
  const options: string[] = [];
  // The index ties an upper directory to one mount with one set of lower directories.
  if (existsSync(join(parameters, "index"))) options.push("index=off");
  // With metacopy, a file whose mode changed has no content in the upper directory we convert.
  if (readParameter(join(parameters, "metacopy")) === "Y") options.push("metacopy=off");
  return options;
}

function readParameter(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if (isMissingFile(error)) return undefined;
    throw error;
  }
}

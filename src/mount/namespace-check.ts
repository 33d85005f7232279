/**
 * Whether containerd can see the layers we mount.
 *
 * A service manager or a container may give the daemon a mount namespace of its own. Mounts made
 * there reach the host's namespace only if the mount that holds the root belongs to a peer group
 * the host's namespace has too ("shared subtrees", mount_namespaces(7)). If not, containerd finds
 * empty directories where the layers should be, and containers start without their files.
 *
 * @module
 */
import { readFileSync, readlinkSync, realpathSync } from "node:fs";
import { findMountOf, type MountEntry, parseMountInfo } from "./mountinfo.ts";

export interface NamespaceView {
  /** Identity of the namespace: what /proc/<pid>/ns/mnt points to. */
  readonly namespace: string;
  readonly entries: readonly MountEntry[];
}

/**
 * A sentence with the problem and its remedy, or undefined if there is none or nothing can be told
 * (/proc/1 is hidden).
 *
 * @param root the daemon's root, an existing directory
 */
export function checkMountNamespace(root: string): string | undefined {
  const host = readView("1");
  const own = readView("self");
  if (host === undefined || own === undefined) return undefined;
  return findNamespaceProblem(realpathSync(root), own, host);
}

function readView(process: string): NamespaceView | undefined {
  try {
    const namespace = readlinkSync(`/proc/${process}/ns/mnt`);
    const text = readFileSync(`/proc/${process}/mountinfo`, "utf8");
    return { namespace, entries: parseMountInfo(text) };
  } catch {
    return undefined; // Not root in the namespace of process 1, or no /proc.
  }
}

/** The decision; `root` is absolute and without symlinks. */
export function findNamespaceProblem(
  root: string,
  own: NamespaceView,
  host: NamespaceView,
): string | undefined {
  if (own.namespace === host.namespace) return undefined;
  const group = findMountOf(root, own.entries)?.sharedGroup;
  // Service managers make our mounts slaves of the host's and shared again: then the group is ours.
  const isHostsGroup = host.entries.some((entry) => entry.sharedGroup === group);
  if (group !== undefined && isHostsGroup) return undefined;
  return (
    `The daemon has a mount namespace of its own and "${root}" is not on a mount shared with the ` +
    "host, so containerd cannot see the layers mounted there: start it in the host's namespace " +
    "(systemd: no PrivateMounts=, ProtectSystem= and the like), or mount the root with " +
    "propagation rshared"
  );
}

/**
 * An image mounted to be read, without a container: by `ctr`, in containerd's mount namespace,
 * because there are the mounts that built-in snapshotters make.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Image } from "../../../test/support/image/oci.ts";
import type { BenchNode } from "./node.ts";

/** Runs a task with the folder in which this process sees the image's root. */
export async function withMountedImage<T>(
  node: BenchNode,
  image: Image,
  task: (root: string) => Promise<T>,
): Promise<T> {
  const { containerd, contender } = node;
  const target = node.mountPoint("image");
  const snapshotter = ["--snapshotter", contender.snapshotter];
  mkdirSync(target, { recursive: true });
  await containerd.ctr("images", "mount", ...snapshotter, node.reference(image), target);
  try {
    // What another mount namespace has at a path, as /proc/<pid>/root shows it (proc(5)).
    return await task(join(`/proc/${containerd.pid}/root`, target));
  } finally {
    await containerd.ctr("images", "unmount", "--rm", ...snapshotter, target);
  }
}

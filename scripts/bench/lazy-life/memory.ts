/** What dedupd takes where many lazy images are mounted. */
import { join } from "node:path";
import { containerd21Lazy } from "../../../test/support/containerd-flavours.ts";
import { chainId, type Image } from "../../../test/support/image/oci.ts";
import { TestNode } from "../../../test/support/node.ts";
import { memoryMiB } from "../../lib/memory.ts";
import type { LazyBackend } from "./reads.ts";

/** Resident MiB of dedupd with all images mounted, some content of each read, at the end. */
export async function residentMiB(images: readonly Image[], backend: LazyBackend): Promise<number> {
  const options = { lazyBackend: backend, lazyBackground: "off" } as const;
  await using node = await TestNode.start(containerd21Lazy, options);
  const mounts = new AsyncDisposableStack();
  for (const image of images) {
    await node.pull(image);
    const mounted = mounts.use(await node.containerd.mountOn(chainId(image)));
    const files = new Bun.Glob("**/*1.py").scan(mounted.path);
    for await (const file of files) await Bun.file(join(mounted.path, file)).bytes();
  }
  const { pid } = await node.daemon.dedupd.status();
  const resident = memoryMiB(pid, "VmRSS");
  await mounts.disposeAsync();
  await node.waitUntilUnmounted();
  return resident;
}

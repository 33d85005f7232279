/**
 * How long a reader waits longer because dedupd is killed: kill -9 while the registry stands still,
 * which goes on in that moment.
 *
 * @module
 */
import { join } from "node:path";
import { MiB } from "../../../src/util/bytes.ts";
import { containerd21Lazy } from "../../../test/support/containerd-flavours.ts";
import { chainId } from "../../../test/support/image/oci.ts";
import { TestNode } from "../../../test/support/node.ts";
import { runCommand } from "../../lib/process.ts";
import type { LargeImage } from "./images.ts";
import type { LazyBackend } from "./reads.ts";

export interface Takeover {
  readonly backend: LazyBackend;
  readonly isKilled: boolean;
  /** From when the registry goes on until the reader does. */
  readonly waitMs: number;
}

/** So long a reader waits before dedupd is killed: its request is under way by then. */
const leadMs = 300;
/** Between two places that are read: farther apart than what is fetched ahead. */
const strideMiB = 16;

/** @param count readers, one after the other; every second one loses its dedupd */
export async function takeovers(
  { lazy }: LargeImage,
  backend: LazyBackend,
  count: number,
): Promise<Takeover[]> {
  const options = { lazyBackend: backend, lazyBackground: "off" } as const;
  await using node = await TestNode.start(containerd21Lazy, options);
  await node.pull(lazy);
  const mounted = await node.containerd.mountOn(chainId(lazy));
  const results: Takeover[] = [];
  for (let index = 0; index < count; index++) {
    const isKilled = index % 2 === 1;
    node.registry.signal("SIGSTOP");
    const path = join(mounted.path, "weights");
    const place = `bs=4096 count=1 skip=${(index * strideMiB * MiB) / 4096}`;
    const reader = runCommand(["sh", "-c", `dd if=${path} of=/dev/null ${place} status=none`]);
    await Bun.sleep(leadMs);
    const { pid } = await node.daemon.dedupd.status();
    const startMs = performance.now();
    if (isKilled) process.kill(pid, "SIGKILL");
    node.registry.signal("SIGCONT");
    await reader;
    results.push({ backend, isKilled, waitMs: performance.now() - startMs });
  }
  await mounted[Symbol.asyncDispose]();
  await node.waitUntilUnmounted();
  return results;
}

/**
 * One pull: how long it takes, what it uses, what it leaves on disk.
 *
 * @module
 */
import { diskUsage, settledDiskUsage } from "../../../test/support/disk-usage.ts";
import type { Image } from "../../../test/support/image/oci.ts";
import { runCommand } from "../../lib/process.ts";
import { dropCachesButBlobs } from "./caches.ts";
import type { BenchNode } from "./node.ts";
import { cpuSeconds, type PeakMemory, watchMemory } from "./process-usage.ts";

export interface PullResult {
  readonly seconds: number;
  /** The same, until nothing of it would be lost with the machine's power. */
  readonly syncedSeconds: number;
  /** From the start of the pull until nothing is written any more. */
  readonly containerdCpuSeconds: number;
  /** Zero, as its memory, where our daemon has no part. */
  readonly daemonCpuSeconds: number;
  readonly containerdMemory: PeakMemory;
  readonly daemonMemory: PeakMemory;
  /** Of all snapshots so far, and how many are of this pull. */
  readonly diskBytes: number;
  readonly newBytes: number;
  /** Of all blobs that containerd keeps. */
  readonly blobBytes: number;
}

const noMemory: PeakMemory = { ownBytes: 0, childrenBytes: 0 };

interface Meter {
  stop(): { readonly cpuSeconds: number; readonly memory: PeakMemory };
}

/** Measures a process and its children from now on. */
function meter(pid: number | undefined): Meter {
  if (pid === undefined) return { stop: () => ({ cpuSeconds: 0, memory: noMemory }) };
  const before = cpuSeconds(pid);
  const memory = watchMemory(pid);
  return { stop: () => ({ memory: memory.stop(), cpuSeconds: cpuSeconds(pid) - before }) };
}

/** Pulls an image that the node does not have yet; others it may have. */
export async function measurePull(
  node: BenchNode,
  registryFolder: string,
  image: Image,
): Promise<PullResult> {
  const { containerd, contender, daemon, storage, content } = node;
  await dropCachesButBlobs(registryFolder, image);
  const bytesBefore = await diskUsage(storage);
  const [containerdMeter, daemonMeter] = [meter(containerd.pid), meter(daemon?.pid)];
  const startMs = performance.now();
  await containerd.pull(node.reference(image), contender.snapshotter);
  const seconds = (performance.now() - startMs) / 1000;
  await runCommand(["sync"]);
  const syncedSeconds = (performance.now() - startMs) / 1000;
  const diskBytes = await settledDiskUsage(storage);
  const [containerdUse, daemonUse] = [containerdMeter.stop(), daemonMeter.stop()];
  return {
    seconds,
    syncedSeconds,
    containerdCpuSeconds: containerdUse.cpuSeconds,
    daemonCpuSeconds: daemonUse.cpuSeconds,
    containerdMemory: containerdUse.memory,
    daemonMemory: daemonUse.memory,
    diskBytes,
    newBytes: diskBytes - bytesBefore,
    blobBytes: await diskUsage(content),
  };
}

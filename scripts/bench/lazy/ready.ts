/**
 * From the start of a pull to a program that works.
 *
 * @module
 */
import { timeUntilLine } from "../../lib/process.ts";
import { dropCaches } from "../family/caches.ts";
import type { SlowLink } from "../../lib/slow-link.ts";
import { type LazyImage, readyLine } from "./images.ts";
import type { LazyContender, LazyNode } from "./node.ts";

export interface ReadyResult {
  readonly pullMs: number;
  /** Pull and start, to the line. */
  readonly readyMs: number;
  /** What the registry had sent by then. */
  readonly fetchedBytes: number;
  /** A second container, from its start to the line. */
  readonly againMs: number;
}

async function start(
  { containerd }: LazyNode,
  { snapshotter }: LazyContender,
  { command }: LazyImage,
  reference: string,
  id: string,
): Promise<number> {
  const flags = ["--rm", "--snapshotter", snapshotter];
  // Containers of one name share a control group, whoever runs them.
  const name = `${id}-${process.pid}`;
  const parameters = ["run", ...flags, reference, name, "sh", "-c", command];
  return timeUntilLine(containerd.ctrCommand(...parameters), readyLine);
}

/** The image must be in the registry behind the link, and not on the node. */
export async function measureReady(
  node: LazyNode,
  contender: LazyContender,
  lazy: LazyImage,
  link: SlowLink,
): Promise<ReadyResult> {
  const reference = `${link.address}/${lazy.image.name}`;
  await dropCaches();
  const bytesBefore = link.sentBytes;
  const startMs = performance.now();
  await node.containerd.pull(reference, contender.snapshotter);
  const pullMs = performance.now() - startMs;
  const runMs = await start(node, contender, lazy, reference, "first");
  const fetchedBytes = link.sentBytes - bytesBefore;
  const againMs = await start(node, contender, lazy, reference, "second");
  return { pullMs, readyMs: pullMs + runMs, fetchedBytes, againMs };
}

/**
 * From the start of a pull to a program that works.
 *
 * @module
 */
import { timeUntilLine } from "../../lib/process.ts";
import { dropCaches } from "../family/caches.ts";
import type { SlowLink } from "../../lib/slow-link.ts";
import { type LazyImage, readyLine } from "./images.ts";
import type { NodeTraces } from "./traces.ts";
import type { LazyContender, LazyNode } from "./node.ts";

export interface ReadyResult {
  readonly pullMs: number;
  /** Pull and start, to the line. */
  readonly readyMs: number;
  /** What the registry had sent by then. */
  readonly fetchedBytes: number;
  /** A second container, from its start to the line. */
  readonly againMs: number;
  /** What came of content by then, decompressed; undefined for a contender that does not say. */
  readonly fill: FillResult | undefined;
}

export interface FillResult {
  /** Reads that had to wait. */
  readonly waits: number;
  readonly filledBytes: number;
  /** Of the pieces that were read. */
  readonly touchedBytes: number;
  readonly prefetchedBytes: number;
  readonly usedBytes: number;
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

async function fillResult({ daemon }: LazyNode): Promise<FillResult | undefined> {
  const dedupd = (await daemon?.stats())?.lazy.dedupd;
  if (dedupd === undefined || dedupd === null) return undefined;
  const figures = Object.values(dedupd.prefetched);
  const sum = (key: "bytes" | "usedBytes" | "unseenBytes") =>
    figures.reduce((total, each) => total + each[key], 0);
  const { requests: waits, filledBytes, readBytes: touchedBytes } = dedupd.counters;
  const prefetchedBytes = sum("bytes") - sum("unseenBytes");
  return { waits, filledBytes, touchedBytes, prefetchedBytes, usedBytes: sum("usedBytes") };
}

/** The image must be in the registry behind the link, and not on the node. */
export async function measureReady(
  node: LazyNode,
  contender: LazyContender,
  lazy: LazyImage,
  link: SlowLink,
  traces: NodeTraces,
): Promise<ReadyResult> {
  const reference = `${link.address}/${lazy.image.name}`;
  await dropCaches();
  if (contender.trace === "imported") await traces.importTo(node, lazy, reference);
  const bytesBefore = link.sentBytes;
  const startMs = performance.now();
  await node.containerd.pull(reference, contender.snapshotter);
  const pullMs = performance.now() - startMs;
  const runMs = await start(node, contender, lazy, reference, "first");
  const fetchedBytes = link.sentBytes - bytesBefore;
  const fill = await fillResult(node);
  if (contender.trace === "exported") await traces.exportFrom(node, lazy, reference);
  const againMs = await start(node, contender, lazy, reference, "second");
  return { pullMs, readyMs: pullMs + runMs, fetchedBytes, againMs, fill };
}

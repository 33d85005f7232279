/**
 * How fast the large files of a lazy image are read over its life: while other content is missing,
 * when all is there, and when it has become an ordinary layer. Beside the same files in a layer
 * that was pulled as a whole.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { containerd21Lazy } from "../../../test/support/containerd-flavours.ts";
import { chainId, type Image } from "../../../test/support/image/oci.ts";
import { TestNode } from "../../../test/support/node.ts";
import { waitUntil } from "../../lib/process.ts";
import { measureRead, type ReadResult } from "../family/read.ts";
import { largeFiles, type LargeImage } from "./images.ts";

export type Stage = "local" | "incomplete" | "complete" | "ordinary";
export type LazyBackend = "fuse" | "fanotify";

export interface Reads extends ReadResult {
  readonly backend: LazyBackend | "none";
  readonly stage: Stage;
  readonly file: string;
}

const timeoutMs = 120_000;

async function readLargeFiles(
  folder: string,
  backend: Reads["backend"],
  stage: Stage,
): Promise<Reads[]> {
  const results: Reads[] = [];
  for (const file of largeFiles) {
    results.push({ backend, stage, file, ...(await measureRead(join(folder, file))) });
  }
  return results;
}

async function readMounted(
  node: TestNode,
  image: Image,
  backend: Reads["backend"],
  stage: Stage,
): Promise<Reads[]> {
  let results: Reads[];
  {
    await using mounted = await node.containerd.mountOn(chainId(image));
    results = await readLargeFiles(mounted.path, backend, stage);
  }
  await node.waitUntilUnmounted();
  return results;
}

/** The peer: a layer that was pulled as a whole. */
export async function localReads({ plain }: LargeImage): Promise<Reads[]> {
  await using node = await TestNode.start(containerd21Lazy);
  await node.pull(plain);
  return await readMounted(node, plain, "none", "local");
}

export async function lazyReads({ lazy }: LargeImage, backend: LazyBackend): Promise<Reads[]> {
  const options = { lazyBackend: backend, lazyBackground: "off" } as const;
  await using node = await TestNode.start(containerd21Lazy, options);
  const reference = await node.pull(lazy);
  const results: Reads[] = [];
  {
    await using mounted = await node.containerd.mountOn(chainId(lazy));
    for (const file of largeFiles) readFileSync(join(mounted.path, file));
    results.push(...(await readLargeFiles(mounted.path, backend, "incomplete")));
    await node.daemon.cli("prefetch", reference);
    await node.waitUntilFetched(timeoutMs);
    results.push(...(await readLargeFiles(mounted.path, backend, "complete")));
  }
  await node.waitUntilUnmounted();
  const isOrdinary = async () => (await node.daemon.stats()).lazy.images === 0;
  await waitUntil(isOrdinary, "the layer does not become an ordinary one", timeoutMs);
  return [...results, ...(await readMounted(node, lazy, backend, "ordinary"))];
}

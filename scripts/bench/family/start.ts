/**
 * How long a real command takes, from before `ctr run` to after its end, in a container made and
 * removed for it.
 *
 * @module
 */
import type { Image } from "../../../test/support/image/oci.ts";
import { dropCaches } from "./caches.ts";
import type { BenchNode } from "./node.ts";

export interface StartResult {
  /** With nothing of the image in the page cache. */
  readonly coldMs: number;
  /** Right after it, as often as is noted here. */
  readonly warmMs: readonly number[];
}

const warmRuns = 3;

export async function measureStart(
  node: BenchNode,
  image: Image,
  command: string,
): Promise<StartResult> {
  const { containerd, contender } = node;
  const run = async (turn: number) => {
    const id = `start-${image.name.replaceAll(/\W/g, "-")}-${turn}`;
    const startMs = performance.now();
    const { snapshotter } = contender;
    await containerd.run(node.reference(image), id, ["sh", "-c", command], { snapshotter });
    return performance.now() - startMs;
  };
  await dropCaches();
  const coldMs = await run(0);
  const warmMs: number[] = [];
  for (let turn = 1; turn <= warmRuns; turn++) warmMs.push(await run(turn));
  return { coldMs, warmMs };
}

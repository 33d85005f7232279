/**
 * One contender in one round: all images are pulled to a fresh node, then started and read.
 *
 * @module
 */
import { loadavg } from "node:os";
import { join } from "node:path";
import type { Image } from "../../../test/support/image/oci.ts";
import type { Registry } from "../../../test/support/registry.ts";
import { say } from "../../lib/project.ts";
import { median } from "../figures.ts";
import type { ImageRecipe } from "../images/recipes.ts";
import type { Contender } from "./contenders.ts";
import { withMountedImage } from "./mounted-image.ts";
import { BenchNode } from "./node.ts";
import { measurePull, type PullResult } from "./pull.ts";
import { measureRead } from "./read.ts";
import type { ImageResult, RoundResult } from "./results.ts";
import { measureStart } from "./start.ts";
import { measureWalk } from "./walk.ts";

export interface Subject {
  readonly image: Image;
  readonly recipe: ImageRecipe;
}

export interface Sources {
  readonly registry: Registry;
  readonly registryFolder: string;
}

type AfterPull = Omit<ImageResult, "pull">;

async function measureReading(node: BenchNode, { image, recipe }: Subject): Promise<AfterPull> {
  const { largeFile, isLargeTree = false } = recipe;
  if (largeFile === undefined && !isLargeTree) return {};
  return withMountedImage(node, image, async (root) => ({
    ...(largeFile === undefined ? {} : { read: await measureRead(join(root, largeFile)) }),
    ...(isLargeTree ? { walk: await measureWalk(root) } : {}),
  }));
}

async function measureUse(node: BenchNode, subject: Subject): Promise<AfterPull> {
  const { command } = subject.recipe;
  const start =
    command === undefined ? {} : { start: await measureStart(node, subject.image, command) };
  return { ...start, ...(await measureReading(node, subject)) };
}

function tell({ recipe }: Subject, { pull, start, read, walk }: ImageResult): void {
  const parts = [`pull ${pull.seconds.toFixed(2)} s`];
  if (start !== undefined) {
    parts.push(`start ${start.coldMs.toFixed(0)}/${median(start.warmMs).toFixed(0)} ms`);
  }
  if (read !== undefined) {
    parts.push(`read ${read.coldSequential.toFixed(0)}/${read.warmSequential.toFixed(0)} MB/s`);
    parts.push(`random ${read.coldRandom.toFixed(0)}/${read.warmRandom.toFixed(1)} µs`);
  }
  if (walk !== undefined) {
    parts.push(`walk ${walk.coldMs.toFixed(0)}/${walk.warmMs.toFixed(0)} ms`);
  }
  say(`    ${recipe.name}: ${parts.join(", ")}`);
}

export async function measureRound(
  contender: Contender,
  round: number,
  subjects: readonly Subject[],
  { registry, registryFolder }: Sources,
): Promise<RoundResult> {
  const loadBefore = loadavg()[0] ?? Number.NaN;
  await using node = await BenchNode.start(contender, registry);
  const pulls = new Map<Subject, PullResult>();
  for (const subject of subjects) {
    pulls.set(subject, await measurePull(node, registryFolder, subject.image));
  }
  const images = new Map<string, ImageResult>();
  for (const [subject, pull] of pulls) {
    const result = { pull, ...(await measureUse(node, subject)) };
    tell(subject, result);
    images.set(subject.recipe.name, result);
  }
  const load = [loadBefore, loadavg()[0] ?? Number.NaN] as const;
  return { contender: contender.name, round, load, images };
}

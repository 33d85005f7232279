/**
 * On-demand loading: from the pull to a program that works, behind links of several speeds, beside
 * a full pull and stargz-snapshotter. Each measurement has a fresh node.
 *
 * @module
 */
import { join } from "node:path";
import { Registry } from "../../test/support/registry.ts";
import { ensurePackages } from "../lib/apt.ts";
import { say } from "../lib/project.ts";
import { type LinkSpeed, SlowLink } from "../lib/slow-link.ts";
import { ensureStargz } from "../lib/stargz.ts";
import { machine, tableLines } from "./figures.ts";
import { type LazyImage, lazyImages } from "./lazy/images.ts";
import { type LazyContender, LazyNode } from "./lazy/node.ts";
import { NodeTraces } from "./lazy/traces.ts";
import type { LazyOptions } from "./lazy/options.ts";
import { lazyGoalTable } from "./lazy/goals.ts";
import { type FillResult, measureReady, type ReadyResult } from "./lazy/ready.ts";
import {
  type LinkName,
  links,
  type Measurement,
  type PickNumber,
  sumOfMedians,
} from "./lazy/results.ts";

/** A full pull over the slowest link takes minutes and shows nothing new. */
function isMeasured(link: LinkName, contender: LazyContender): boolean {
  return link !== "25 Mbit/s" || contender.snapshotter !== "overlayfs";
}

async function measureAll(
  registry: Registry,
  traces: NodeTraces,
  images: readonly LazyImage[],
  { peers, rounds }: LazyOptions,
): Promise<Measurement[]> {
  const stargz = await ensureStargz();
  const results: Measurement[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const [name, speed] of Object.entries(links) as [LinkName, LinkSpeed][]) {
      for (const lazy of images) {
        for (const contender of peers.filter((each) => isMeasured(name, each))) {
          await using link = await SlowLink.open(registry.address, speed);
          await using node = await LazyNode.start(contender, stargz, link.address);
          const result = await measureReady(node, contender, lazy, link, traces);
          const image = lazy.image.name;
          results.push({ link: name, image, contender: contender.name, ...result });
          say(`lazy: ${name}, ${image}, ${contender.name}: ${tell(result)}`);
        }
      }
    }
  }
  return results;
}

function tell({ pullMs, readyMs, fetchedBytes, againMs, fill }: ReadyResult): string {
  const times = [pullMs, readyMs, againMs].map((ms) => ms.toFixed(0));
  const all = `pull ${times[0]}, ready ${times[1]}, again ${times[2]} ms; ${mb(fetchedBytes)} MB`;
  return `${all}${fill === undefined ? "" : tellFill(fill)}`;
}

function tellFill({ waits, prefetchedBytes, usedBytes }: FillResult): string {
  return `; ${waits} waits; prefetched ${mb(prefetchedBytes)} MB, used ${mb(usedBytes)}`;
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

/** Sums over the images of the medians over the rounds. */
function summaryLines(results: readonly Measurement[]): string[] {
  const groups = Map.groupBy(results, ({ link, contender }) => `${link}, ${contender}`);
  const rows = [...groups].flatMap(([name, [first]]) => {
    if (first === undefined) return [];
    const sum = (pick: PickNumber) => sumOfMedians(results, first.link, first.contender, pick) ?? 0;
    const seconds = (pick: PickNumber) => (sum(pick) / 1000).toFixed(2);
    return [
      [
        name,
        seconds(({ pullMs }) => pullMs),
        seconds(({ readyMs }) => readyMs),
        seconds(({ againMs }) => againMs),
        mb(sum(({ fetchedBytes }) => fetchedBytes)),
      ],
    ];
  });
  const heading = ["link, snapshotter", "pull, s", "ready, s", "again, s", "fetched, MB"];
  return tableLines(heading, rows);
}

/** @param scratch a folder for the registry */
export async function benchLazy(scratch: string, options: LazyOptions): Promise<void> {
  await ensurePackages(["docker-registry"]);
  const images = await lazyImages(options.only);
  await using registry = await Registry.start(join(scratch, "registry"));
  for (const { image } of images) await registry.push(image);
  const results = await measureAll(registry, new NodeTraces(scratch), images, options);
  const lines = summaryLines(results);
  say(`\n${machine()}; sums over ${options.only.join(", ")}\n`);
  for (const line of [...lines, "", ...lazyGoalTable(results)]) say(line);
  await Bun.write(
    options.out,
    `${JSON.stringify({ machine: machine(), results }, undefined, 2)}\n`,
  );
}

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
import { machine, median, tableLines } from "./figures.ts";
import { type LazyImage, lazyImages } from "./lazy/images.ts";
import { type LazyContender, LazyNode } from "./lazy/node.ts";
import { NodeTraces } from "./lazy/traces.ts";
import type { LazyOptions } from "./lazy/options.ts";
import { measureReady, type PrefetchResult, type ReadyResult } from "./lazy/ready.ts";

const links = {
  unshaped: { bitsPerSecond: undefined, roundTripMs: 0 },
  "100 Mbit/s": { bitsPerSecond: 100e6, roundTripMs: 10 },
  "25 Mbit/s": { bitsPerSecond: 25e6, roundTripMs: 10 },
} as const satisfies Record<string, LinkSpeed>;

type LinkName = keyof typeof links;

interface Measurement extends ReadyResult {
  readonly link: LinkName;
  readonly image: string;
  readonly contender: string;
}

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

function tell(result: ReadyResult): string {
  const { pullMs, readyMs, fetchedBytes, againMs, prefetch } = result;
  const megabytes = (fetchedBytes / 1e6).toFixed(1);
  const times = [pullMs, readyMs, againMs].map((ms) => ms.toFixed(0));
  const all = `pull ${times[0]}, ready ${times[1]}, again ${times[2]} ms; ${megabytes} MB`;
  return `${all}${tellPrefetch(prefetch)}`;
}

function tellPrefetch(prefetch: PrefetchResult | null): string {
  if (prefetch === null) return "";
  const { waits, bytes, usedBytes } = prefetch;
  const sizes = [bytes, usedBytes].map((size) => (size / 1e6).toFixed(1));
  return `; ${waits} waits; prefetched ${sizes[0]} MB, used ${sizes[1]} MB`;
}

/** Sums over the images of the medians over the rounds. */
function summaryLines(results: readonly Measurement[]): string[] {
  const groups = Map.groupBy(results, ({ link, contender }) => `${link}, ${contender}`);
  const rows = [...groups].map(([name, group]) => {
    const byImage = [...Map.groupBy(group, ({ image }) => image).values()];
    const sumOf = (value: (result: ReadyResult) => number) =>
      byImage.reduce((sum, each) => sum + median(each.map(value)), 0);
    const seconds = (value: (result: ReadyResult) => number) => (sumOf(value) / 1000).toFixed(2);
    return [
      name,
      seconds(({ pullMs }) => pullMs),
      seconds(({ readyMs }) => readyMs),
      seconds(({ againMs }) => againMs),
      (sumOf(({ fetchedBytes }) => fetchedBytes) / 1e6).toFixed(1),
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
  for (const line of lines) say(line);
  await Bun.write(
    options.out,
    `${JSON.stringify({ machine: machine(), results }, undefined, 2)}\n`,
  );
}

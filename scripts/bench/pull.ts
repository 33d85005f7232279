/**
 * Pulling two sibling Debian images with containerd 2.1: overlayfs beside us, with and without the
 * Diff service. Each round has a node of its own for each of them, in changing order.
 *
 * @module
 */
import { join } from "node:path";
import {
  containerd21,
  containerd21WithDiff,
  type Flavour,
} from "../../test/support/containerd-flavours.ts";
import { settledDiskUsage } from "../../test/support/disk-usage.ts";
import type { Image } from "../../test/support/image/oci.ts";
import { TestNode } from "../../test/support/node.ts";
import { demoImages } from "../demo/images.ts";
import { runCommand } from "../lib/process.ts";
import { say } from "../lib/project.ts";
import { median, report } from "./figures.ts";

const rounds = 5;
const MiB = 1024 * 1024;

interface Contender {
  readonly name: string;
  readonly flavour: Flavour;
  readonly snapshotter: "overlayfs" | "dedup";
}

const contenders: readonly Contender[] = [
  { name: "overlayfs", flavour: containerd21, snapshotter: "overlayfs" },
  { name: "dedup, at Commit", flavour: containerd21, snapshotter: "dedup" },
  { name: "dedup, Diff service", flavour: containerd21WithDiff, snapshotter: "dedup" },
];

interface Result {
  readonly pullSeconds: number;
  readonly siblingSeconds: number;
  readonly diskMiB: number;
  readonly siblingMiB: number;
}

async function measure(contender: Contender, images: readonly Image[]): Promise<Result> {
  await using node = await TestNode.start(contender.flavour);
  const { containerd, daemon, registry } = node;
  for (const image of images) await registry.push(image);
  const overlay = join(containerd.paths.root, "io.containerd.snapshotter.v1.overlayfs");
  const folder = contender.snapshotter === "overlayfs" ? overlay : daemon.root;
  const seconds: number[] = [];
  const disk: number[] = [];
  for (const image of images) {
    // What was written before is not part of this pull.
    await runCommand(["sync"]);
    const before = performance.now();
    await containerd.pull(registry.reference(image), contender.snapshotter);
    seconds.push((performance.now() - before) / 1000);
    await runCommand(["sync"]);
    disk.push((await settledDiskUsage(folder)) / MiB);
  }
  await containerd.removeImages();
  const [pullSeconds = Number.NaN, siblingSeconds = Number.NaN] = seconds;
  const [diskMiB = Number.NaN, bothMiB = Number.NaN] = disk;
  return { pullSeconds, siblingSeconds, diskMiB, siblingMiB: bothMiB - diskMiB };
}

const labels: Readonly<Record<keyof Result, string>> = {
  pullSeconds: "pull of app:1, s",
  siblingSeconds: "pull of its sibling app:2, s",
  diskMiB: "disk after app:1, MiB",
  siblingMiB: "disk app:2 adds, MiB",
};

export async function benchPull(): Promise<void> {
  const images = await demoImages();
  const results = new Map<string, Result[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    say(`pull: round ${round + 1} of ${rounds}`);
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(round + turn) % contenders.length];
      if (contender === undefined) continue;
      results.get(contender.name)?.push(await measure(contender, images));
    }
  }
  const fields = Object.keys(labels) as (keyof Result)[];
  const rows = fields.map((field) => {
    const medians = contenders.map(({ name }) =>
      median((results.get(name) ?? []).map((one) => one[field])),
    );
    const [peer = Number.NaN] = medians;
    const cells = medians.map((value) => `${value.toFixed(2)} (${(value / peer).toFixed(2)}×)`);
    return [labels[field]].concat(cells);
  });
  const names = contenders.map(({ name }) => name);
  report("figure", names, rows, Object.fromEntries(results));
}

/**
 * `npm run demo`: two sibling images, pulled by an ordinary containerd through its own overlayfs
 * and through dedup-snapshotter, side by side.
 *
 * @module
 */
import { join } from "node:path";
import { describeError } from "../src/errors.ts";
import { formatSize } from "../src/util/bytes.ts";
import { containerd21WithDiff } from "../test/support/containerd-flavours.ts";
import type { Containerd } from "../test/support/containerd.ts";
import { diskUsage, settledDiskUsage } from "../test/support/disk-usage.ts";
import type { Image } from "../test/support/image/oci.ts";
import { TestNode } from "../test/support/node.ts";
import { build } from "./build.ts";
import { demoImages } from "./demo/images.ts";
import { ensurePackages } from "./lib/apt.ts";
import { runCommand } from "./lib/process.ts";
import { say, seconds } from "./lib/project.ts";
import { runInScratch } from "./lib/scratch-run.ts";
import { cacheFolder } from "./lib/temp.ts";

const packages = ["docker-registry"] as const;

const command = ["python3", "-c", "print('app', open('/srv/app/version').read().strip())"];

interface Measurement {
  readonly pullMs: number;
  /** On disk after this pull, and all before it. */
  readonly storedBytes: number;
  readonly runMs: number;
}

async function timed<T>(task: () => Promise<T>): Promise<readonly [T, number]> {
  const startMs = performance.now();
  return [await task(), performance.now() - startMs];
}

/** Pulls and runs the images one after the other, then removes them again. */
async function measure(
  node: TestNode,
  images: readonly Image[],
  snapshotter: string,
  storedBytes: () => Promise<number>,
): Promise<Measurement[]> {
  const { containerd, registry } = node;
  const measurements: Measurement[] = [];
  for (const [index, image] of images.entries()) {
    const reference = registry.reference(image);
    // What was written and deleted before is not part of this pull.
    await runCommand(["sync"]);
    const [, pullMs] = await timed(() => containerd.pull(reference, snapshotter));
    const stored = await storedBytes();
    const id = `demo-${snapshotter}-${index}`;
    const [output, runMs] = await timed(() =>
      containerd.run(reference, id, command, { snapshotter }),
    );
    say(`  ${image.name} through ${snapshotter}: pulled, and it says "${output.trim()}"`);
    measurements.push({ pullMs, storedBytes: stored, runMs });
  }
  return measurements;
}

function overlayUsage(containerd: Containerd): Promise<number> {
  return diskUsage(join(containerd.paths.root, "io.containerd.snapshotter.v1.overlayfs"));
}

type Row = readonly [string, string, string];

function rowsOf(
  images: readonly Image[],
  overlay: readonly Measurement[],
  dedup: readonly Measurement[],
): Row[] {
  const row = (title: string, show: (measurements: readonly Measurement[]) => string): Row => [
    title,
    show(overlay),
    show(dedup),
  ];
  const pulledBytes = images.map(({ layers }) =>
    layers.reduce((sum, each) => sum + each.sizeBytes, 0),
  );
  const total = formatSize(pulledBytes.reduce((sum, each) => sum + each, 0));
  const at = (measurements: readonly Measurement[], index: number, key: keyof Measurement) =>
    measurements[index]?.[key] ?? 0;
  const stored = (index: number) => (measurements: readonly Measurement[]) =>
    formatSize(at(measurements, index, "storedBytes"));
  const both = at(overlay, 1, "storedBytes");
  return [
    ["", "overlayfs", "dedup"],
    row("bytes pulled", () => total),
    row("stored after the first image", stored(0)),
    row("stored after both", stored(1)),
    row("saving", (measurements) => {
      const saved = 1 - at(measurements, 1, "storedBytes") / both;
      return measurements === overlay ? "" : `${(saved * 100).toFixed(1)} %`;
    }),
    ...images.flatMap(({ name }, index) => [
      row(`pull of ${name}`, (each) => seconds(at(each, index, "pullMs"))),
      row(`run in ${name}`, (each) => seconds(at(each, index, "runMs"))),
    ]),
  ];
}

function printTable(rows: readonly Row[]): void {
  const width = Math.max(...rows.map(([title]) => title.length));
  for (const [title, ...cells] of rows) {
    const line = [title.padEnd(width), ...cells.map((cell) => cell.padStart(12))].join("");
    process.stdout.write(`${line.trimEnd()}\n`);
  }
}

async function demo(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error("Cannot run the demo: it needs root");
  await ensurePackages(packages);
  await build();
  const images = await demoImages();
  say("Starting a registry, containerd and the daemon in a scratch folder …");
  await using node = await TestNode.start(containerd21WithDiff);
  for (const image of images) {
    await node.registry.push(image);
    say(`  pushed ${node.registry.reference(image)}`);
  }
  const references = images.map((image) => node.registry.reference(image));
  say("Pulling both images and running a command in each …");
  const overlay = await measure(node, images, "overlayfs", () => overlayUsage(node.containerd));
  await node.containerd.removeImages(...references);
  const dedup = await measure(node, images, "dedup", () => settledDiskUsage(node.daemon.root));
  const statistics = await node.daemon.cli("stats");
  await node.containerd.removeImages(...references);
  await node.waitUntilUnmounted();
  process.stdout.write("\n");
  printTable(rowsOf(images, overlay, dedup));
  process.stdout.write(`\ndedup-snapshotter stats, with both images:\n${statistics}\n`);
}

try {
  const [, durationMs] = await timed(() => runInScratch(demo));
  say(`Done in ${seconds(durationMs)}; the scratch folder is removed.`);
  say(`Kept for the next time: downloads and images in ${cacheFolder()}`);
} catch (error) {
  say(describeError(error));
  process.exitCode = 1;
}

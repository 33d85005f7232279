/**
 * `npm run compare [-- --set full|small --only image,…]`: pulls the image family with containerd's
 * overlayfs and with us, and compares every attribute and all content of every file.
 *
 * The first run builds the images, which takes minutes. Both snapshotters keep all images until the
 * end: 12 GB of disk for the full set.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { describeError } from "../src/errors.ts";
import { containerd21WithDiff } from "../test/support/containerd-flavours.ts";
import { treeDifferences } from "../test/support/image/model.ts";
import { chainId, type Image } from "../test/support/image/oci.ts";
import { TestNode } from "../test/support/node.ts";
import { readTree } from "../test/support/tree.ts";
import { familyImages } from "./bench/images/family.ts";
import { type ImageSet, imageSets } from "./bench/images/recipes.ts";
import { build } from "./build.ts";
import { asUnpacked } from "./compare/unpacked.ts";
import { say, seconds } from "./lib/project.ts";
import { runInScratch } from "./lib/scratch-run.ts";

const differencesShownMax = 20;
const usage = "Usage: npm run compare -- [--set full|small] [--only image,…]";

function isImageSet(name: string): name is ImageSet {
  return name in imageSets;
}

async function chooseImages(): Promise<readonly Image[]> {
  const { values } = parseArgs({
    options: { set: { type: "string", default: "full" }, only: { type: "string" } },
  });
  if (!isImageSet(values.set)) throw new Error(usage);
  const images = await familyImages(values.set);
  const names = values.only?.split(",") ?? images.map(({ name }) => name);
  return names.map((name) => {
    const image = images.find((one) => one.name === name);
    if (image === undefined) throw new Error(`The set "${values.set}" has no image "${name}"`);
    return image;
  });
}

async function treeOf(node: TestNode, image: Image, snapshotter: "overlayfs" | "dedup") {
  await node.containerd.pull(node.registry.reference(image), snapshotter);
  await using mounted = await node.containerd.mountOn(chainId(image), snapshotter);
  return readTree(mounted.path);
}

/** The differences of an image, printed; empty where the trees are equal. */
async function compareImage(node: TestNode, image: Image, startNs: bigint): Promise<string[]> {
  const startMs = performance.now();
  await node.registry.push(image);
  const ours = await treeOf(node, image, "dedup");
  const containerds = await treeOf(node, image, "overlayfs");
  const found = treeDifferences(containerds, asUnpacked(ours, containerds, startNs));
  const duration = seconds(performance.now() - startMs);
  say(`${image.name}: ${ours.size} files, ${found.length / 2} differ (${duration})`);
  for (const line of found.slice(0, differencesShownMax)) say(`  ${line}`);
  return found;
}

async function compare(): Promise<number> {
  const images = await chooseImages();
  await build();
  const startNs = BigInt(Date.now()) * 1_000_000n;
  let differing = 0;
  await using node = await TestNode.start(containerd21WithDiff, { logLevel: "info" });
  for (const image of images) {
    if ((await compareImage(node, image, startNs)).length > 0) differing += 1;
  }
  const { layers, conversions } = await node.daemon.stats();
  say(`${layers.converted} layers, ${conversions.done} converted, ${layers.plain} plain`);
  const wasUnpacked = node.daemon.logMessages().filter((line) => line.includes("is left to"));
  for (const line of wasUnpacked) say(line);
  return differing + layers.plain + wasUnpacked.length;
}

try {
  process.exitCode = (await runInScratch(() => compare())) === 0 ? 0 : 1;
} catch (error) {
  say(describeError(error));
  process.exitCode = 1;
}

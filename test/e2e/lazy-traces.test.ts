/** What one node learns from a start makes the first start on another one faster. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { runCommand, waitUntil } from "../../scripts/lib/process.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { KiB } from "../../src/util/bytes.ts";
import { containerd21Lazy } from "../support/containerd-flavours.ts";
import { busyboxLayer } from "../support/image/busybox.ts";
import { directory, file, type Layer } from "../support/image/layer.ts";
import { layoutImage } from "../support/image/layout.ts";
import type { Image } from "../support/image/oci.ts";
import { convertedImage } from "../support/lazy/converted-image.ts";
import { TestNode } from "../support/node.ts";
import { randomBytes } from "../support/random.ts";

setDefaultTimeout(180_000);

const filesCount = 200;
const fileBytes = 100 * KiB;
/** What the program reads, of files that are far from each other. */
const read = Array.from({ length: 25 }, (_, index) => (index * 37) % filesCount);
const paths = read.map((index) => `/data/${index}`);
const command = ["sh", "-c", `cat ${paths.join(" ")} | wc -c`];

function dataLayer(): Layer {
  const files = Array.from({ length: filesCount }, (_, index) =>
    file(`data/${index}`, randomBytes(`trace ${index}`, fileBytes)),
  );
  return [directory("data"), ...files];
}

async function lazyImage(folder: string): Promise<Image> {
  return convertedImage(folder, "traced:1", [await busyboxLayer(), dataLayer()]);
}

/** How many reads have waited for content; and what prefetch by trace brought and was good for. */
async function figures(node: TestNode) {
  const { dedupd } = (await node.daemon.stats()).lazy;
  if (dedupd === null) throw new Error("dedupd is away");
  return { waits: dedupd.counters.requests, trace: dedupd.prefetched.trace };
}

function startNode(): Promise<TestNode> {
  return TestNode.start(containerd21Lazy, { lazyBackground: "off" });
}

test("a trace is carried from node to node", async () => {
  using scratch = scratchFolder("traces");
  const image = await lazyImage(scratch.path);
  const trace = join(scratch.path, "trace");

  await using first = await startNode();
  const reference = await first.pull(image);
  await first.containerd.run(reference, "traced", command);
  const without = await figures(first);
  expect(without.waits).toBeGreaterThanOrEqual(read.length);
  await first.daemon.cli("trace", "export", reference, trace);
  await first.waitUntilUnmounted();

  await using second = await startNode();
  const name = second.registry.reference(image);
  await second.daemon.cli("trace", "import", name, trace);
  await second.pull(image);
  const isThere = async () => (await figures(second)).trace.pieces >= read.length;
  await waitUntil(isThere, "the trace is not replayed");
  const output = await second.containerd.run(name, "traced", command);
  expect(output).toBe(`${read.length * fileBytes}\n`);
  const withTrace = await figures(second);
  expect(withTrace.waits).toBeLessThan(without.waits / 4);
  const { bytes, usedBytes, unseenBytes } = withTrace.trace;
  expect(usedBytes).toBeGreaterThan((bytes - unseenBytes) * 0.8);
  await second.waitUntilUnmounted();
});

test("an image is converted with what its trace names first", async () => {
  using scratch = scratchFolder("traces");
  const image = await lazyImage(scratch.path);
  const trace = join(scratch.path, "trace");
  await using node = await startNode();
  const reference = await node.pull(image);
  await node.containerd.run(reference, "traced", command);
  await node.daemon.cli("trace", "export", reference, trace);
  await node.waitUntilUnmounted();

  const again = join(scratch.path, "again");
  const lazy = join(scratch.path, "traced-1-estargz");
  await runCommand([binaryFile, "convert", lazy, again, "--trace", trace]);
  const landmarked = { ...layoutImage(again, "traced:1"), name: "landmark:1" };
  await using other = await startNode();
  const name = await other.pull(landmarked);
  const fetched = async () => (await other.daemon.stats()).lazy.dedupd?.prefetched.landmark;
  await waitUntil(async () => ((await fetched())?.pieces ?? 0) >= read.length, "no landmark");
  const before = await figures(other);
  await other.containerd.run(name, "traced", command);
  expect((await figures(other)).waits).toBeLessThanOrEqual(before.waits + 2);
  await other.waitUntilUnmounted();
});

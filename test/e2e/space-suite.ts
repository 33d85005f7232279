/**
 * What images cost on disk: siblings share what is equal, and removal gives everything back.
 *
 * @module
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { KiB, MiB } from "../../src/util/bytes.ts";
import { diskUsage, settledDiskUsage } from "../support/disk-usage.ts";
import { busyboxLayer } from "../support/image/busybox.ts";
import { directory, file, type Layer } from "../support/image/layer.ts";
import { type Image, makeImage, packLayer } from "../support/image/oci.ts";
import type { Flavour } from "../support/containerd-flavours.ts";
import type { TestNode } from "../support/node.ts";
import { randomBytes } from "../support/random.ts";

const smallFiles = 150;
const smallBytes = 64 * KiB;
const largeBytes = 20 * MiB;
const chunkBytes = 4 * MiB;
/** One 4 KiB block for each file may be shared between its tail and the metadata. */
const changedFiles = [3, 77, 140];

/** Databases grow by whole pages, and their write-ahead logs are reset only now and then. */
const databaseBytesMax = 6 * MiB;

/** A layer of incompressible files; `version` changes three small files and one byte of a large. */
function siblingLayer(version: number): Layer {
  const large = randomBytes("large", largeBytes);
  if (version > 1) large.write(`v${version}`, 2 * chunkBytes + 17);
  const content = (index: number) => {
    const isChanged = version > 1 && changedFiles.includes(index);
    return randomBytes(isChanged ? `small ${index} v${version}` : `small ${index}`, smallBytes);
  };
  return [
    directory(""),
    directory("data"),
    file("data/version", `version ${version}\n`),
    file("data/large", large),
    ...Array.from({ length: smallFiles }, (_, index) => file(`data/f${index}`, content(index))),
  ];
}

async function siblingImage(version: number): Promise<Image> {
  const base = await busyboxLayer();
  // One layer, so that the siblings share no blob; only content can be shared.
  return makeImage(`sibling:${version}`, [packLayer([...base, ...siblingLayer(version).slice(1)])]);
}

async function packBytes(node: TestNode): Promise<number> {
  return diskUsage(join(node.daemon.root, "packs"));
}

function describeSiblings(node: () => TestNode): void {
  test("stores of a sibling image only what is new", async () => {
    await node().pull(await siblingImage(1));
    const before = { packs: await packBytes(node()), stats: await node().daemon.stats() };
    const reference = await node().pull(await siblingImage(2));
    const after = { packs: await packBytes(node()), stats: await node().daemon.stats() };
    const output = await node().containerd.run(reference, "sibling", ["cat", "/data/version"]);
    expect(output).toBe("version 2\n");

    const newBytes = changedFiles.length * smallBytes + chunkBytes;
    const packGrowth = after.packs - before.packs;
    expect(packGrowth).toBeGreaterThanOrEqual(newBytes);
    expect(packGrowth).toBeLessThanOrEqual(newBytes + 64 * KiB);
    const growth = (of: (stats: typeof after.stats) => number) =>
      of(after.stats) - of(before.stats);
    expect(growth(({ chunks }) => chunks.unique)).toBe(changedFiles.length + 1);
    expect(growth((stats) => stats.logical_bytes)).toBeGreaterThan(
      smallFiles * smallBytes + largeBytes,
    );
    expect(growth((stats) => stats.stored_bytes)).toBeLessThan(newBytes + databaseBytesMax);
  });

  test("stores nothing for a layer that is there already", async () => {
    const again = { ...(await siblingImage(2)), name: "copy:1" };
    const before = await packBytes(node());
    await node().pull(again);
    expect(await packBytes(node())).toBe(before);
  });
}

/** Each image of mkfs.erofs holds all of its content; only equal layers are one. */
function describeSeparateSiblings(node: () => TestNode): void {
  test("keeps all of a sibling image in an image of its own", async () => {
    await node().pull(await siblingImage(1));
    const before = await node().daemon.stats();
    const reference = await node().pull(await siblingImage(2));
    const after = await node().daemon.stats();
    const output = await node().containerd.run(reference, "sibling", ["cat", "/data/version"]);
    expect(output).toBe("version 2\n");
    expect(after.images.count - before.images.count).toBe(1);
    const growth = after.stored_bytes - before.stored_bytes;
    expect(growth).toBeGreaterThan(smallFiles * smallBytes + largeBytes);
  });

  test("stores nothing for a layer that is there already", async () => {
    const before = await node().daemon.stats();
    await node().pull({ ...(await siblingImage(2)), name: "copy:1" });
    expect((await node().daemon.stats()).images.count).toBe(before.images.count);
  });
}

function describeRemoval(node: () => TestNode, image: () => Image): void {
  test("pulls ten images at once", async () => {
    const { containerd, registry } = node();
    const base = packLayer(await busyboxLayer());
    const common = randomBytes("common", MiB);
    const contents = Array.from({ length: 10 }, (_, index) => ({
      name: Buffer.from(`image ${index}\n`),
      own: randomBytes(`image ${index}`, MiB),
      common,
    }));
    const images = contents.map((files, index) => {
      const entries = Object.entries(files).map(([name, bytes]) => file(`data/${name}`, bytes));
      return makeImage(`many${index}:1`, [
        base,
        packLayer([directory(""), directory("data"), ...entries]),
      ]);
    });
    await Promise.all(images.map((each) => registry.push(each)));
    const references = images.map((each) => registry.reference(each));
    await Promise.all(references.map((reference) => containerd.pull(reference)));
    await Promise.all(
      contents.map((files, index) => {
        // By exit codes: of ten containers at once ctr was seen to lose the output of one, although
        // the container itself had compared what it read.
        const sums = Object.entries(files).map(([name, bytes]) => {
          return `${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}  /data/${name}`;
        });
        const script = `printf '%s\n' '${sums.join("' '")}' | sha256sum -c`;
        return containerd.run(references[index]!, `many${index}`, ["sh", "-c", script]);
      }),
    );
    await containerd.removeImages(...references);
  });

  test("finds nothing wrong in its store", async () => {
    await node().daemon.stop();
    await node().daemon.cli("check", "--data");
    await node().daemon.start();
    await node().waitUntilConnected();
  });

  test("gives all space back when the images are removed", async () => {
    const { containerd, daemon, registry } = node();
    const names = [image().name, "sibling:1", "sibling:2", "copy:1"];
    await containerd.removeImages(...names.map((name) => `${registry.address}/${name}`));
    await node().waitUntilUnmounted();
    expect(await containerd.snapshots()).toEqual([]);
    const stats = await daemon.stats();
    expect(stats.layers.converted + stats.layers.plain).toBe(0);
    expect(stats.images.count).toBe(0);
    expect(stats.chunks).toEqual({ unique: 0, references: 0 });
    expect(await packBytes(node())).toBeLessThan(64 * KiB);
    expect(await settledDiskUsage(daemon.root)).toBeLessThan(databaseBytesMax);
  });
}

/** Declares the tests of disk space; the last one removes all images. */
export function describeSpace(
  node: () => TestNode,
  image: () => Image,
  { usesMkfs }: Flavour,
): void {
  if (usesMkfs) describeSeparateSiblings(node);
  else describeSiblings(node);
  describeRemoval(node, image);
}

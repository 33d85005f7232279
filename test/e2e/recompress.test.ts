/**
 * Recompressing on a node that works: under running containers, which go on with what they have,
 * and with every kind of file the same afterwards.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "../../scripts/lib/process.ts";
import { GiB, MiB } from "../../src/util/bytes.ts";
import { containerd21WithDiff } from "../support/containerd-flavours.ts";
import type { DaemonOptions } from "../support/daemon.ts";
import { diskUsage } from "../support/disk-usage.ts";
import { busyboxLayer } from "../support/image/busybox.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import type { Layer } from "../support/image/layer.ts";
import { expectedTree, treeDifferences } from "../support/image/model.ts";
import { type Image, chainId, makeImage, packLayer } from "../support/image/oci.ts";
import { TestNode } from "../support/node.ts";
import { readTree } from "../support/tree.ts";

const testTimeoutMs = 120_000;
const waitForEver = ["sh", "-c", "while true; do sleep 1; done"];
/** Everything a container sees, in one number. */
const hashAll = ["sh", "-c", "find /hard /bin -type f | sort | xargs md5sum | md5sum"];
const transitions = [
  ["file", "none", "zstd"],
  ["loop", "deflate", "zstd"],
  ["file", "zstd", "none"],
] as const;

describe.each(transitions)("by %s, from %s to %s, recompressing", (method, from, to) => {
  setDefaultTimeout(testTimeoutMs);
  let node: TestNode;
  let image: Image;
  let reference: string;
  const layers: Layer[] = hardCaseLayers();

  const options = (compression: "none" | "zstd" | "deflate"): DaemonOptions => {
    const rates = { bytesPerSecond: 100 * GiB, chunkSizeBytes: 4 * MiB };
    return { method, compression, ...rates };
  };

  beforeAll(async () => {
    layers.unshift(await busyboxLayer());
    image = makeImage("hard:1", layers.map(packLayer));
    node = await TestNode.start(containerd21WithDiff, options(from));
    reference = await node.pull(image);
  });
  afterAll(() => node.stop());

  test("leaves running containers what they have, and later ones the same", async () => {
    const { containerd, daemon } = node;
    await containerd.runDetached(reference, "runs", waitForEver);
    const seen = await containerd.exec("runs", "before", hashAll);
    const { socket: address, root } = containerd.paths;
    await daemon.stop();
    daemon.configure({ ...options(to), containerd: { address, root } });
    await daemon.start();
    await node.waitUntilConnected();
    expect(await daemon.cli("recompress", "--wait")).toContain(" 0 failed");
    expect(await daemon.cli("recompress", "--dry-run")).toStartWith("0 layers");
    expect(await containerd.exec("runs", "after", hashAll)).toBe(seen);
    expect(await containerd.run(reference, "later", hashAll)).toBe(seen);
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
    await daemon.start();
    await node.waitUntilConnected();
    expect(await containerd.exec("runs", "restarted", hashAll)).toBe(seen);
    await containerd.removeContainer("runs");
    await node.waitUntilUnmounted();
    const images = () => readdirSync(join(daemon.root, "images")).length;
    await waitUntil(() => images() === layers.length, "old images are still there");
  });

  test("keeps every attribute of every file", async () => {
    await using mounted = await node.containerd.mountOn(chainId(image));
    expect(treeDifferences(expectedTree(layers, "ours"), readTree(mounted.path))).toEqual([]);
  });

  test("leaves nothing when the images go", async () => {
    await node.waitUntilUnmounted();
    await node.containerd.removeImages(reference);
    await node.containerd.collectGarbage();
    const packBytes = () => diskUsage(join(node.daemon.root, "packs"));
    await waitUntil(async () => (await packBytes()) < MiB, "content is still there");
    expect(readdirSync(join(node.daemon.root, "images"))).toEqual([]);
  });
});

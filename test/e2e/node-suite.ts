/**
 * What a user does with a node, against a real containerd and a real registry: one suite for every
 * containerd version, mount method and compression.
 *
 * @module
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { release } from "node:os";
import { MiB } from "../../src/util/bytes.ts";
import type { RequestedCompression } from "../../src/mount/probe-compression.ts";
import type { Flavour } from "../support/containerd-flavours.ts";
import { type ScratchFolder, scratchFolder } from "../../scripts/lib/temp.ts";
import type { MountMethod } from "../support/daemon.ts";
import { busyboxLayer } from "../support/image/busybox.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import type { Layer } from "../support/image/layer.ts";
import { expectedTree, treeDifferences } from "../support/image/model.ts";
import { type Image, chainId, makeImage, packLayer } from "../support/image/oci.ts";
import { mkfsOfForky } from "../support/mkfs.ts";
import { TestNode } from "../support/node.ts";
import { readTree } from "../support/tree.ts";
import { changeTree } from "./change-tree.ts";
import { describeSpace } from "./space-suite.ts";

const testTimeoutMs = 120_000;

/** EROFS reads images from files, without loop devices, since Linux 6.12. */
function canMountFiles(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 12);
}

const waitForEver = ["sh", "-c", "while true; do sleep 1; done"];

function describeImages(
  node: () => TestNode,
  layers: readonly Layer[],
  image: () => Image,
  { differ, isDelegated }: Flavour,
): void {
  test("shows every kind of file as it was built", async () => {
    await node().pull(image());
    await using mounted = await node().containerd.mountOn(chainId(image()));
    expect(treeDifferences(expectedTree(layers, differ), readTree(mounted.path))).toEqual([]);
    const stats = await node().daemon.stats();
    expect(stats.layers.plain_layers).toEqual([]);
    expect(stats.layers.converted).toBe(layers.length);
    const messages = node().daemon.logMessages().join("\n");
    expect(messages).toContain("auto-converting to EROFS");
    expect(messages).toContain("successfully auto-converted layer");
    expect(messages).not.toContain("is built without mkfs.erofs");
    const { failed } = stats.conversions;
    const wasUnpacked = messages.includes("left to containerd's differ");
    expect({ failed, wasUnpacked }).toEqual({ failed: 0, wasUnpacked: isDelegated });
  });

  test("shows the same again to another container", async () => {
    await node().waitUntilUnmounted();
    await using mounted = await node().containerd.mountOn(chainId(image()));
    expect(treeDifferences(expectedTree(layers, differ), readTree(mounted.path))).toEqual([]);
  });
}

function describeContainers(node: () => TestNode, reference: () => string): void {
  test("runs a command", async () => {
    const command = ["sh", "-c", "cat /hard/lower/again; echo $((6 * 7))"];
    expect(await node().containerd.run(reference(), "run", command)).toBe("back again\n42\n");
  });

  test("executes a command in a running container", async () => {
    const { containerd } = node();
    await containerd.runDetached(reference(), "exec", waitForEver);
    const command = ["sh", "-c", "cat /hard/lower/keep | md5sum"];
    const output = await containerd.exec("exec", "e1", command);
    await containerd.removeContainer("exec");
    expect(output).toBe(`${md5("lower keep".repeat(100))}  -\n`);
  });

  test("copies up, renames and deletes what the image has", async () => {
    const script = [
      "cd /hard && echo more >> link-a && tail=$(cat link-a | md5sum) && echo $tail",
      "mv lower/keep lower/moved && cat lower/moved | md5sum",
      "mv tiny small && ls small | md5sum && ls -d tiny 2>/dev/null || echo gone",
      "rm -r lower/opq && mkdir lower/opq && ls lower/opq && echo empty",
      "rm random && ls random 2>/dev/null || echo removed",
      "chmod 700 text && stat -c %a text",
    ].join("\n");
    const names = Array.from({ length: 3000 }, (_, index) => `f${index}`).sort();
    const linked = `${"linked\n".repeat(1000)}more\nmore\n`;
    const output = await node().containerd.run(reference(), "change", ["sh", "-ec", script]);
    expect(output.split("\n")).toEqual([
      `${md5(linked)} -`,
      `${md5("lower keep".repeat(100))}  -`,
      `${md5(`${names.join("\n")}\n`)}  -`,
      "gone",
      "empty",
      "removed",
      "700",
      "",
    ]);
  });

  test("keeps running containers over a kill of the daemon", async () => {
    const { containerd, daemon } = node();
    await containerd.runDetached(reference(), "survivor", waitForEver);
    await daemon.kill();
    const command = ["sh", "-c", "cat /hard/lower/keep | md5sum"];
    const expected = `${md5("lower keep".repeat(100))}  -\n`;
    expect(await containerd.exec("survivor", "down", command)).toBe(expected);
    await daemon.start();
    await node().waitUntilConnected();
    expect(await containerd.exec("survivor", "up", command)).toBe(expected);
    expect(await containerd.run(reference(), "later", command)).toBe(expected);
    await containerd.removeContainer("survivor");
    await node().waitUntilUnmounted();
  });
}

function md5(text: string): string {
  return new Bun.CryptoHasher("md5").update(text).digest("hex");
}

function describeCommits(node: () => TestNode, image: () => Image): void {
  test("keeps what was written when a snapshot is committed", async () => {
    const { containerd } = node();
    await using written = await containerd.mountOn(chainId(image()));
    await changeTree(written.path);
    const expected = readTree(written.path);
    await written.commit("written");
    expect((await node().daemon.stats()).layers.plain_layers).toEqual([]);
    {
      await using mounted = await containerd.mountOn("written");
      expect(treeDifferences(expected, readTree(mounted.path))).toEqual([]);
    }
    await containerd.ctr("snapshots", "--snapshotter", "dedup", "rm", "written");
  });

  test("takes the committed snapshot of a container as a parent", async () => {
    const { containerd, registry } = node();
    const reference = registry.reference(image());
    const write = ["sh", "-c", "rm -r /hard/tiny; echo written > /hard/note; mkdir /hard/opq"];
    await containerd.run(reference, "writer", write, { keep: true });
    const snapshots = ["snapshots", "--snapshotter", "dedup"] as const;
    await containerd.ctr(...snapshots, "commit", "from-container", "writer");
    {
      await using mounted = await containerd.mountOn("from-container");
      expect(await Bun.file(`${mounted.path}/hard/note`).text()).toBe("written\n");
      expect(readTree(`${mounted.path}/hard`).has("tiny")).toBe(false);
    }
    await containerd.tryCtr("container", "rm", "writer");
    await containerd.ctr(...snapshots, "rm", "from-container");
  });
}

/** The encodings that the content of the node has, each once. */
async function encodings(node: TestNode): Promise<string[]> {
  const chunks = await node.daemon.cli("chunks");
  return [...new Set(chunks.match(/(?<= encoding=)\w+/g))].sort();
}

/** Declares the suite of one containerd version, one mount method and one compression. */
export function describeNode(
  flavour: Flavour,
  method: Exclude<MountMethod, "auto">,
  compression: Exclude<RequestedCompression, "auto"> = "zstd",
): void {
  setDefaultTimeout(testTimeoutMs);
  const name = `${flavour.name}, ${method}, ${compression}`;
  describe.skipIf(method === "file" && !canMountFiles())(name, () => {
    let node: TestNode;
    let scratch: ScratchFolder;
    let image: Image;
    const layers: Layer[] = hardCaseLayers();

    beforeAll(async () => {
      layers.unshift(await busyboxLayer());
      image = makeImage("hard:1", layers.map(packLayer));
      scratch = scratchFolder("tools");
      node = await TestNode.start(flavour, {
        method,
        compression,
        mkfsPath: flavour.usesMkfs ? await mkfsOfForky(scratch.path) : undefined,
        chunkSizeBytes: 4 * MiB,
        appliesLayers: flavour.differ === "ours",
      });
    });
    afterAll(async () => {
      await node.stop();
      scratch[Symbol.dispose]();
    });

    describeImages(
      () => node,
      layers,
      () => image,
      flavour,
    );
    describeContainers(
      () => node,
      () => node.registry.reference(image),
    );
    describeCommits(
      () => node,
      () => image,
    );
    test("uses the mount method it was told to use", async () => {
      await node.waitUntilUnmounted();
      await using _ = await node.containerd.mountOn(chainId(image));
      const { mounts } = await node.daemon.stats();
      const other = method === "file" ? "loop" : "file";
      expect([mounts[method], mounts[other]]).toEqual([layers.length, 0]);
    });
    test("stores content in packs with the compression it was told to use", async () => {
      const inPacks = compression === "none" ? ["none"] : [compression, "none"].sort();
      expect(await encodings(node)).toEqual(flavour.usesMkfs ? [] : inPacks);
    });
    describeSpace(
      () => node,
      () => image,
      flavour,
    );
  });
}

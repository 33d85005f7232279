/**
 * Images that `dedup-snapshotter convert` made, on a real containerd: with its own overlayfs
 * snapshotter and differ, and with ours.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { runCommand } from "../../scripts/lib/process.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { containerd21WithDiff } from "../support/containerd-flavours.ts";
import { busyboxLayer } from "../support/image/busybox.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import type { Layer } from "../support/image/layer.ts";
import { layoutImage, writeLayout } from "../support/image/layout.ts";
import { expectedTree, type Tree, treeDifferences } from "../support/image/model.ts";
import { chainId, type Image, makeImage, packLayer } from "../support/image/oci.ts";
import { TestNode } from "../support/node.ts";
import { readTree } from "../support/tree.ts";

setDefaultTimeout(120_000);

const special = new Set(["stargz.index.json", ".no.prefetch.landmark"]);

function withoutSpecial(tree: Tree): Tree {
  return new Map([...tree].filter(([path]) => !special.has(path)));
}

describe("a converted image", () => {
  let node: TestNode;
  let scratch: ScratchFolder;
  let layers: Layer[];
  let source: string;

  beforeAll(async () => {
    scratch = scratchFolder("convert");
    node = await TestNode.start(containerd21WithDiff);
    // A table of contents has no bytes but UTF-8: a layer with others would stay as it is.
    const hard = hardCaseLayers().map((layer) =>
      layer.filter(({ path }) => !path.includes("latin1-\xe9")),
    );
    layers = [await busyboxLayer(), ...hard];
    source = join(scratch.path, "source");
    await writeLayout(source, makeImage("hard:1", layers.map(packLayer)));
  });

  afterAll(async () => {
    try {
      await node.stop();
    } finally {
      scratch[Symbol.dispose]();
    }
  });

  async function convert(format: string): Promise<Image> {
    const out = join(scratch.path, format);
    await runCommand([binaryFile, "convert", source, out, "--format", format]);
    return layoutImage(out, `${format}:1`);
  }

  test.each(["estargz", "zstd-chunked"])("%s: shows the same files and runs", async (format) => {
    const image = await convert(format);
    const reference = node.registry.reference(image);
    await node.registry.push(image);
    for (const [snapshotter, differ] of [
      ["overlayfs", "containerd"],
      ["dedup", "ours"],
    ] as const) {
      await node.containerd.pull(reference, snapshotter);
      await using mounted = await node.containerd.mountOn(chainId(image), snapshotter);
      const actual = withoutSpecial(readTree(mounted.path));
      expect(treeDifferences(expectedTree(layers, differ), actual)).toEqual([]);
      const command = ["sh", "-c", "cat /hard/lower/again; echo $((6 * 7))"];
      const output = await node.containerd.run(reference, `run-${snapshotter}`, command, {
        snapshotter,
      });
      expect(output).toBe("back again\n42\n");
    }
    const { layers: counts, conversions } = await node.daemon.stats();
    expect([counts.plain_layers, conversions.failed]).toEqual([[], 0]);
    await node.waitUntilUnmounted();
  });
});

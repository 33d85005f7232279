/** Layers built while containerd 2.1 downloads them from a registry that takes its time. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { waitUntil } from "../../scripts/lib/process.ts";
import { containerd21WithDiff } from "../support/containerd-flavours.ts";
import { busyboxLayer } from "../support/image/busybox.ts";
import { file } from "../support/image/layer.ts";
import { type Image, makeImage, packLayer, sha256 } from "../support/image/oci.ts";
import { TestNode } from "../support/node.ts";
import { randomBytes } from "../support/random.ts";
import { SlowRegistry } from "../support/slow-registry.ts";

setDefaultTimeout(120_000);

const fileBytes = 20_000_000;

/** An image of one layer, and what a container that hashes its file says. */
async function imageOf(name: string): Promise<{ image: Image; output: string }> {
  const content = randomBytes(name, fileBytes);
  const layer = [...(await busyboxLayer()), file("large", content)];
  const output = `${sha256(content).slice("sha256:".length)}  /large\n`;
  return { image: makeImage(`${name}:1`, [packLayer(layer)]), output };
}

describe("a pull from a slow registry", () => {
  let node: TestNode;
  let slow: SlowRegistry;

  beforeAll(async () => {
    node = await TestNode.start(containerd21WithDiff);
    slow = new SlowRegistry(node.registry.address);
  });

  afterAll(async () => {
    await slow[Symbol.asyncDispose]();
    await node.stop();
  });

  /** Begins to pull an image; the layer is whole only when `release` was called. */
  async function beginPull(image: Image) {
    await node.registry.push(image);
    const release = slow.hold(image.layers[0]!.digest);
    const reference = `${slow.authority}/${image.name}`;
    return { reference, release, pulled: node.containerd.pull(reference) };
  }

  const earlyCounts = async () => (await node.daemon.stats()).early;

  async function expectNothingLeft(reference: string): Promise<void> {
    await node.containerd.removeImages(reference);
    await node.waitUntilUnmounted();
    const isEmpty = () => node.daemon.leftovers().length === 0;
    await waitUntil(isEmpty, "nothing is left");
  }

  test("has the layer built while it comes", async () => {
    const { image, output } = await imageOf("held");
    const { reference, release, pulled } = await beginPull(image);
    await waitUntil(async () => (await earlyCounts()).started === 1, "the build begins");
    expect(await earlyCounts()).toEqual({ started: 1, used: 0, dropped: 0 });
    release();
    await pulled;
    expect(await earlyCounts()).toEqual({ started: 1, used: 1, dropped: 0 });
    const { conversions } = await node.daemon.stats();
    expect(conversions).toMatchObject({ done: 1, skipped: 0, failed: 0 });
    const command = ["sha256sum", "/large"];
    expect(await node.containerd.run(reference, "held", command)).toBe(output);
    await expectNothingLeft(reference);
  });

  test("succeeds where the daemon is killed meanwhile, and leaves nothing", async () => {
    const { image, output } = await imageOf("killed");
    const { reference, release, pulled } = await beginPull(image);
    const before = (await earlyCounts()).started;
    await waitUntil(async () => (await earlyCounts()).started > before, "the build begins");
    await node.daemon.kill();
    await node.daemon.start();
    await node.waitUntilConnected();
    release();
    await pulled;
    const command = ["sha256sum", "/large"];
    expect(await node.containerd.run(reference, "killed", command)).toBe(output);
    await expectNothingLeft(reference);
  });
});

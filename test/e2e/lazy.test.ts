/**
 * Lazy images on a real containerd: mounted before their content is there, and right all the same.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { runCommand, waitUntil } from "../../scripts/lib/process.ts";
import { SlowLink } from "../../scripts/lib/slow-link.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { MiB } from "../../src/util/bytes.ts";
import { containerd16Cri, containerd21Lazy } from "../support/containerd-flavours.ts";
import { pullByCri } from "../support/cri.ts";
import { busyboxLayer } from "../support/image/busybox.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import { directory, file, type Layer } from "../support/image/layer.ts";
import { expectedTree, treeDifferences } from "../support/image/model.ts";
import { chainId, type Image, sha256 } from "../support/image/oci.ts";
import { convertedImage } from "../support/lazy/converted-image.ts";
import { TestNode } from "../support/node.ts";
import { randomBytes } from "../support/random.ts";
import { readTree } from "../support/tree.ts";

setDefaultTimeout(180_000);

const largeBytes = 24 * MiB;
const large = randomBytes("large", largeBytes);

/** A table of contents has no names but UTF-8. */
function describableHardCases(): Layer[] {
  return hardCaseLayers().map((layer) => layer.filter(({ path }) => !path.includes("latin1-\xe9")));
}

function contentLayer(seed: string): Layer {
  const small = Array.from({ length: 200 }, (_, index) =>
    file(`data/small/${index}`, randomBytes(`${seed} ${index}`, 100 + index * 37)),
  );
  const folders = [directory("data"), directory("data/small")];
  return [...folders, file(`data/large`, large), file("data/text", "text ".repeat(1e6)), ...small];
}

/** What the registry sent of the layers of an image. */
function layerBytes(node: TestNode, image: Image): number {
  const digests = image.layers.map(({ digest }) => digest);
  return node.registry
    .requests()
    .filter(({ method, path }) => method === "GET" && digests.some((each) => path.includes(each)))
    .reduce((sum, { sentBytes }) => sum + sentBytes, 0);
}

async function expectTree(node: TestNode, image: Image, layers: readonly Layer[]): Promise<void> {
  await using mounted = await node.containerd.mountOn(chainId(image));
  expect(treeDifferences(expectedTree(layers, "ours"), readTree(mounted.path))).toEqual([]);
}

describe.each(["fuse", "fanotify"] as const)("lazy images, by %s", (backend) => {
  let scratch: ScratchFolder;
  let layers: Layer[];
  let images: Record<"estargz" | "zstd-chunked", Image>;

  beforeAll(async () => {
    scratch = scratchFolder("lazy");
    layers = [await busyboxLayer(), ...describableHardCases(), contentLayer("one")];
    images = {
      estargz: await convertedImage(scratch.path, "lazy:1", layers, "estargz"),
      "zstd-chunked": await convertedImage(scratch.path, "lazy:1", layers, "zstd-chunked"),
    };
  });

  afterAll(() => scratch[Symbol.dispose]());

  function startNode(background: "on" | "off"): Promise<TestNode> {
    const options = { lazyBackend: backend, lazyBackground: background };
    return TestNode.start(containerd21Lazy, options);
  }

  test.each(["estargz", "zstd-chunked"] as const)(
    "%s: a pull reads tables only, and containers read what they need",
    async (format) => {
      await using node = await startNode("off");
      const image = images[format];
      const reference = await node.pull(image);
      expect(layerBytes(node, image)).toBeLessThan(MiB);
      const output = await node.containerd.run(reference, "first", ["cat", "/data/small/7"]);
      expect(Buffer.byteLength(output)).toBeGreaterThan(0);
      expect(layerBytes(node, image)).toBeLessThan(4 * MiB);
      await expectTree(node, image, layers);
      await node.waitUntilUnmounted();
    },
  );

  test("containers map, execute and copy up what is not there yet", async () => {
    await using node = await startNode("off");
    const reference = await node.pull(images.estargz);
    const script = "echo more >> /data/large; sha256sum /data/large; cp /data/text /tmp-text";
    const output = await node.containerd.run(reference, "write", ["sh", "-c", script]);
    const expected = sha256(Buffer.concat([large, Buffer.from("more\n")]));
    expect(output).toBe(`${expected.slice("sha256:".length)}  /data/large\n`);
    await node.waitUntilUnmounted();
  });

  test("what was fetched becomes an ordinary layer, which needs no registry", async () => {
    await using node = await startNode("on");
    const reference = await node.pull(images.estargz);
    await node.waitUntilFetched();
    await node.registry[Symbol.asyncDispose]();
    await runCommand(["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches"]);
    await expectTree(node, images.estargz, layers);
    const output = await node.containerd.run(reference, "later", ["sha256sum", "/data/large"]);
    expect(output).toStartWith(sha256(large).slice("sha256:".length));
    await node.waitUntilUnmounted();
  });

  test("a sibling fetches only what is new", async () => {
    await using node = await startNode("on");
    await node.pull(images.estargz);
    await node.waitUntilFetched();
    const siblingLayers = [...layers.slice(0, -1), contentLayer("two")];
    const sibling = await convertedImage(scratch.path, "lazy:2", siblingLayers, "estargz");
    await node.pull(sibling);
    await node.waitUntilFetched();
    // The small files are new, some 800 KB; the large one and the text are not.
    expect(layerBytes(node, sibling) - layerBytes(node, images.estargz)).toBeLessThan(2 * MiB);
    await expectTree(node, sibling, siblingLayers);
    await node.waitUntilUnmounted();
  });

  test("removing an image frees everything, also before it is complete", async () => {
    await using node = await startNode("off");
    const reference = await node.pull(images["zstd-chunked"]);
    await node.containerd.run(reference, "once", ["md5sum", "/data/small/3"]);
    await node.containerd.removeImages(reference);
    await node.waitUntilUnmounted();
    const hasNothing = () => node.daemon.leftovers().length === 0;
    await waitUntil(hasNothing, "something is left");
  });

  test("removing an image in the middle of fetching frees everything", async () => {
    await using node = await startNode("off");
    const image = images.estargz;
    await node.registry.push(image);
    const slow = { bitsPerSecond: 40e6, roundTripMs: 5 };
    await using link = await SlowLink.open(node.registry.address, slow);
    const reference = `${link.address}/${image.name}`;
    await node.containerd.pull(reference);
    const missingBytes = await node.missingBytes();
    const prefetch = node.daemon.cli("prefetch", reference).catch(() => undefined);
    await waitUntil(async () => (await node.missingBytes()) < missingBytes, "nothing is fetched");
    expect(await node.missingBytes()).toBeGreaterThan(0);
    await node.containerd.removeImages(reference);
    await node.waitUntilUnmounted();
    await waitUntil(() => node.daemon.leftovers().length === 0, "something is left");
    await prefetch;
  });

  test("a restart without the registry mounts what was mounted", async () => {
    await using node = await startNode("off");
    const reference = await node.pull(images.estargz);
    const command = ["sh", "-c", "cat /data/text > /dev/null; while :; do sleep 1; done"];
    await node.containerd.runDetached(reference, "long", command);
    const hash = sha256(Buffer.from("text ".repeat(1e6))).slice("sha256:".length);
    const read = (id: string) => node.containerd.exec("long", id, ["sha256sum", "/data/text"]);
    expect(await read("before")).toStartWith(hash);
    await node.registry[Symbol.asyncDispose]();
    await node.daemon.stop();
    await node.daemon.start();
    expect(await read("after")).toStartWith(hash);
    await node.waitUntilConnected();
    const again = await node.containerd.run(reference, "new", ["sha256sum", "/data/text"]);
    expect(again).toStartWith(hash);
    await node.containerd.removeContainer("long");
    await node.waitUntilUnmounted();
  });
});

describe("lazy images on containerd 1.6", () => {
  test("are claimed when a kubelet pulls them", async () => {
    using scratch = scratchFolder("lazy");
    const layers = [await busyboxLayer(), contentLayer("one")];
    const image = await convertedImage(scratch.path, "lazy:1", layers, "estargz");
    await using node = await TestNode.start(containerd16Cri, { lazyBackground: "off" });
    const reference = node.registry.reference(image);
    await node.registry.push(image);
    const { containerd } = node;
    await pullByCri(containerd.paths.socket, reference);
    expect(layerBytes(node, image)).toBeLessThan(MiB / 2);
    const inKubernetes = ["--namespace", "k8s.io"];
    const run = ["run", "--rm", "--snapshotter", "dedup", reference, "cri", "sha256sum"];
    const output = await containerd.ctr(...inKubernetes, ...run, "/data/large");
    expect(output).toStartWith(sha256(large).slice("sha256:".length));
    const names = await containerd.ctr(...inKubernetes, "images", "ls", "--quiet");
    await containerd.ctr(...inKubernetes, "images", "rm", "--sync", ...names.trim().split("\n"));
    await node.waitUntilUnmounted();
  });
});

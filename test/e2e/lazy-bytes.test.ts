/** A program is fetched what it reads, and hardly more. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { KiB, MiB } from "../../src/util/bytes.ts";
import { containerd21Lazy } from "../support/containerd-flavours.ts";
import { busyboxLayer } from "../support/image/busybox.ts";
import { directory, file, type Layer } from "../support/image/layer.ts";
import { convertedImage } from "../support/lazy/converted-image.ts";
import { TestNode } from "../support/node.ts";
import { randomBytes } from "../support/random.ts";

setDefaultTimeout(180_000);

const filesCount = 16;
/** Large enough to be read ahead in, not a whole number of blocks. */
const fileBytes = MiB + 300;
const smallBytes = 20 * KiB;
/** Beside them lies what nobody reads. */
const read = [1, 5, 9, 13];

function dataLayer(): Layer {
  const files = Array.from({ length: filesCount }, (_, index) => [
    file(`data/${index}`, randomBytes(`bytes ${index}`, fileBytes)),
    file(`data/${index}-small`, randomBytes(`small ${index}`, smallBytes)),
  ]);
  return [directory("data"), ...files.flat()];
}

test("at most 15 % more is fetched than is read", async () => {
  using scratch = scratchFolder("bytes");
  const layers = [await busyboxLayer(), dataLayer()];
  const image = await convertedImage(scratch.path, "bytes:1", layers);
  await using node = await TestNode.start(containerd21Lazy, { lazyBackground: "off" });
  const reference = await node.pull(image);
  const paths = read.flatMap((index) => [`/data/${index}`, `/data/${index}-small`]);
  await node.containerd.run(reference, "bytes", ["sh", "-c", `cat ${paths.join(" ")} > /dev/null`]);
  const { readBytes = 0, filledBytes = 0 } =
    (await node.daemon.stats()).lazy.dedupd?.counters ?? {};
  expect(readBytes).toBeGreaterThanOrEqual(read.length * (fileBytes + smallBytes));
  expect(filledBytes).toBeLessThanOrEqual(readBytes * 1.15);
  await node.waitUntilUnmounted();
});

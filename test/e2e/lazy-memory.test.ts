/** Whose memory content of lazy layers takes: who reads pays for its own reading only. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { runCommand } from "../../scripts/lib/process.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { MiB } from "../../src/util/bytes.ts";
import { containerd21Lazy } from "../support/containerd-flavours.ts";
import { file } from "../support/image/layer.ts";
import { chainId, type Image } from "../support/image/oci.ts";
import { convertedImage } from "../support/lazy/converted-image.ts";
import { MemoryCgroup } from "../support/memory-cgroup.ts";
import { TestNode } from "../support/node.ts";
import { randomBytes } from "../support/random.ts";

setDefaultTimeout(120_000);

const largeBytes = 48 * MiB;
/** Page tables and such; what fetching takes would be as much again as the file. */
const slackBytes = 4 * MiB;

/** What is charged to a process that reads the file for the first time. */
async function chargedForReading(node: TestNode, image: Image): Promise<number> {
  await runCommand(["sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]);
  await using mounted = await node.containerd.mountOn(chainId(image));
  using group = new MemoryCgroup();
  await group.run(`exec cat ${join(mounted.path, "large")} > /dev/null`);
  return group.usageBytes();
}

test.each(["fuse", "fanotify"] as const)(
  "by %s, reading what has to be fetched is charged as reading what is there",
  async (lazyBackend) => {
    using scratch = scratchFolder("charged");
    const content = file("large", randomBytes("charged", largeBytes));
    const image = await convertedImage(scratch.path, "charged:1", [[content]]);
    await using node = await TestNode.start(containerd21Lazy, {
      lazyBackend,
      lazyBackground: "off",
    });
    await node.pull(image);
    expect(await node.missingBytes()).toBeGreaterThan(largeBytes / 2);
    const fetching = await chargedForReading(node, image);
    await node.waitUntilFetched();
    await node.waitUntilUnmounted();
    const local = await chargedForReading(node, image);
    expect(local).toBeGreaterThan(largeBytes / 2);
    expect(fetching).toBeLessThan(local + slackBytes);
    console.log(
      `${lazyBackend}: ${fetching} bytes are charged where it is fetched, ${local} where not`,
    );
    await node.waitUntilUnmounted();
  },
);

/**
 * A container reads a lazy image, and verifies what it reads, while everything that serves it is
 * killed, replaced and started again.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "../../scripts/lib/process.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { KeeperConnection } from "../../src/ondemand/keeper-connection.ts";
import { socketPaths } from "../../src/ondemand/sockets.ts";
import { KiB } from "../../src/util/bytes.ts";
import { containerd21Lazy } from "../support/containerd-flavours.ts";
import { busyboxLayer } from "../support/image/busybox.ts";
import { directory, file, type Layer } from "../support/image/layer.ts";
import { type Image, sha256 } from "../support/image/oci.ts";
import { convertedImage } from "../support/lazy/converted-image.ts";
import { TestNode } from "../support/node.ts";
import { randomBytes } from "../support/random.ts";
import { rejection } from "../support/rejection.ts";

setDefaultTimeout(120_000);

const filesCount = 150;
const fileBytes = 128 * KiB;

/** A layer of files, and what they have to be. */
function dataLayer(): Layer {
  const contents = Array.from({ length: filesCount }, (_, index) =>
    randomBytes(`life ${index}`, fileBytes),
  );
  const sums = contents.map((content, index) => {
    return `${sha256(content).slice("sha256:".length)}  /data/${index}\n`;
  });
  const files = contents.map((content, index) => file(`data/${index}`, content));
  return [directory("data"), ...files, file("sums", sums.join(""))];
}

async function lazyImage(folder: string): Promise<Image> {
  return convertedImage(folder, "life:1", [await busyboxLayer(), dataLayer()]);
}

/** Notes each file that is right, and each that is not, until it is told to stop. */
const script = `while :; do
  while read -r sum path; do
    if [ -e /stop ]; then echo end >> /right; exec sleep 1000; fi
    found=$(sha256sum "$path" 2>&1)
    if [ "$found" = "$sum  $path" ]; then echo "$path" >> /right; else echo "$found" >> /wrong; fi
    sleep 0.03
  done < /sums
done`;

/** What the container has noted, seen from outside: containerd may be away. */
class Life {
  readonly #root: string;

  constructor(pid: number) {
    this.#root = `/proc/${pid}/root`;
  }

  linesOf(name: "right" | "wrong"): string[] {
    const path = join(this.#root, name);
    return existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
  }

  /** Resolves when a file was read that was not begun before. */
  async goesOn(): Promise<void> {
    const before = this.linesOf("right").length;
    const hasGoneOn = () => this.linesOf("right").length > before + 1;
    await waitUntil(hasGoneOn, `the container does not read on after ${before} files`);
  }

  async end(): Promise<void> {
    writeFileSync(join(this.#root, "stop"), "");
    await waitUntil(() => this.linesOf("right").at(-1) === "end", "the container does not end");
  }
}

test.each(["fuse", "fanotify"] as const)(
  "a container reads right bytes through %s while all that serves it ends and comes again",
  async (backend) => {
    using scratch = scratchFolder("life");
    const image = await lazyImage(scratch.path);
    await using node = await TestNode.start(containerd21Lazy, {
      lazyBackend: backend,
      lazyBackground: "off",
    });
    const { containerd, daemon } = node;
    const { dedupd } = daemon;
    const killDedupd = async () => process.kill((await dedupd.status()).pid, "SIGKILL");
    const killServe = async () => {
      await daemon.kill();
      await daemon.start();
    };
    const newer = join(scratch.path, "newer");
    copyFileSync(binaryFile, newer);
    const reference = await node.pull(image);
    await containerd.runDetached(reference, "life", ["sh", "-c", script]);
    const life = new Life(await containerd.pidOf("life"));
    await life.goesOn();

    await killDedupd();
    await life.goesOn();
    await killServe();
    await life.goesOn();
    await killDedupd();
    await killServe();
    await life.goesOn();
    await containerd.killAndStart();
    await life.goesOn();
    const { pid: old } = await dedupd.status();
    await daemon.stop();
    await daemon.start(newer);
    const isReplaced = async () => {
      const status = await dedupd.status().catch(() => undefined);
      return status !== undefined && status.pid !== old;
    };
    await waitUntil(isReplaced, "dedupd is not replaced");
    await life.goesOn();
    await life.end();
    expect(life.linesOf("wrong")).toEqual([]);

    await node.waitUntilConnected();
    const again = await containerd.exec("life", "again", ["sha256sum", "/data/7"]);
    expect(again).toStartWith(sha256(randomBytes("life 7", fileBytes)).slice("sha256:".length));
    await containerd.removeContainer("life");
    await node.waitUntilUnmounted();
  },
);

/** Kills serve, then dedupd and the keeper, before one of them could miss the others. */
async function killAllHolders(node: TestNode): Promise<void> {
  const connection = await KeeperConnection.open(socketPaths(node.daemon.socket).keeper);
  const { pid: keeperPid } = await connection.ask({ do: "list" });
  const { pid: dedupdPid } = await node.daemon.dedupd.status();
  await node.daemon.kill();
  process.kill(keeperPid, "SIGSTOP");
  process.kill(dedupdPid, "SIGKILL");
  process.kill(keeperPid, "SIGKILL");
  connection.close();
}

function sumOf(index: number): string {
  return sha256(randomBytes(`life ${index}`, fileBytes)).slice("sha256:".length);
}

describe("when all that hold the channel to the kernel die at once", () => {
  const waitForEver = ["sh", "-c", "while :; do sleep 1; done"];

  async function startNode(backend: "fuse" | "fanotify", folder: string) {
    const node = await TestNode.start(containerd21Lazy, {
      lazyBackend: backend,
      lazyBackground: "off",
    });
    const reference = await node.pull(await lazyImage(folder));
    await node.containerd.runDetached(reference, "life", waitForEver);
    const read = (index: number, id: string) =>
      node.containerd.exec("life", id, ["sha256sum", `/data/${index}`]);
    expect(await read(1, "before")).toStartWith(sumOf(1));
    await killAllHolders(node);
    return { node, reference, read };
  }

  test("fanotify lets zeros be read; the next start drops them, and names who read", async () => {
    using scratch = scratchFolder("life");
    const { node, read } = await startNode("fanotify", scratch.path);
    await using _ = node;
    const zeros = sha256(Buffer.alloc(fileBytes)).slice("sha256:".length);
    expect(await read(2, "zeros")).toStartWith(zeros);
    await node.daemon.start();
    await waitUntil(async () => (await suspectsOf(node)).length > 0, "no pack is suspect");
    expect(await read(2, "after")).toStartWith(sumOf(2));
    expect(await read(3, "new")).toStartWith(sumOf(3));
    const pid = await node.containerd.pidOf("life");
    const [suspect] = await suspectsOf(node);
    expect(suspect?.containers.map((container) => container.pid)).toContain(pid);
    const isSaid = () => node.daemon.logMessages().join("\n").includes("zeros may have been read");
    await waitUntil(isSaid, "the log does not say it");
    expect(String(await rejection(node.daemon.ask("GET", "/readyz")))).toContain("503");
    await node.waitUntilConnected();
    await node.containerd.removeContainer("life");
    await node.waitUntilUnmounted();
  });

  test("fuse gives errors, and right bytes to the next container", async () => {
    using scratch = scratchFolder("life");
    const { node, reference, read } = await startNode("fuse", scratch.path);
    await using _ = node;
    expect(String(await rejection(read(2, "error")))).toContain("sha256sum");
    await node.daemon.start();
    await node.waitUntilConnected();
    await node.containerd.removeContainer("life");
    await node.waitUntilUnmounted();
    const again = await node.containerd.run(reference, "next", ["sha256sum", "/data/2"]);
    expect(again).toStartWith(sumOf(2));
    expect(await suspectsOf(node)).toEqual([]);
    await node.waitUntilUnmounted();
  });
});

async function suspectsOf(node: TestNode) {
  return (await node.daemon.stats()).lazy.suspects;
}

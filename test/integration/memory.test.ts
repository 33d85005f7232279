/** The compiled daemon stays small, however many files a layer has. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { memoryMiB } from "../../scripts/lib/memory.ts";
import { runCommand } from "../../scripts/lib/process.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { TestDaemon } from "../support/daemon.ts";
import { ContentFolder, DiffClient, tarLayerType } from "../support/diff-client.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";
import { writeSmallFilesTar } from "../support/tar/small-files.ts";

const files = 50_000;
/** 170 to 190 were measured; 290 where each file was an object of JavaScript. */
const peakMiBMax = 250;

describe("the daemon", () => {
  test("takes little memory for a layer of many files", async () => {
    using folder = scratchFolder("memory");
    const tar = join(folder.path, "layer.tar");
    writeSmallFilesTar(tar, files);
    const containerd = { address: join(folder.path, "none.sock"), root: join(folder.path, "c") };
    const options = { containerd, logLevel: "info" };
    await using daemon = await TestDaemon.start(join(folder.path, "d"), options);
    using snapshots = new SnapshotsClient(daemon.socket);
    using diff = new DiffClient(daemon.socket);
    const blob = new ContentFolder(containerd.root).putFile(tar, tarLayerType);
    await diff.apply(blob, await snapshots.prepare("apply", ""));
    await snapshots.commit("applied", "apply");
    expect(memoryMiB(daemon.pid, "VmHWM")).toBeLessThan(peakMiBMax);

    const [mount] = await snapshots.prepare("commit", "");
    await runCommand(["tar", "-C", mount?.source ?? "", "-xf", tar]);
    await snapshots.commit("committed", "commit");
    expect(memoryMiB(daemon.pid, "VmHWM")).toBeLessThan(peakMiBMax);
    expect(daemon.loggedConversions()).toBe(2);
    await snapshots.removeAll();
    await daemon.stop();
  }, 120_000);
});

/** A daemon whose mkfs.erofs takes for ever: it ends when nobody waits for it any more. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { TestDaemon } from "../support/daemon.ts";
import { ContentFolder, descriptorOf, DiffClient } from "../support/diff-client.ts";
import { directory, file } from "../support/image/layer.ts";
import { writeTar } from "../support/image/tar.ts";
import { mkfsOfForky } from "../support/mkfs.ts";
import { ownFolderOf } from "../support/mounted.ts";
import { randomBytes } from "../support/random.ts";
import { rejection } from "../support/rejection.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";

/** More than a pipe holds, so that the daemon is still writing to the child. */
const content = randomBytes("file", 3_000_000);
const blob = gzipSync(writeTar([directory(""), file("file", content)]), { level: 1 });

let folder: ScratchFolder;
let daemon: TestDaemon;
let snapshots: SnapshotsClient;
let diff: DiffClient;
let hold: string;
let pidFile: string;

beforeEach(async () => {
  folder = scratchFolder("mkfs-daemon");
  hold = join(folder.path, "hold");
  pidFile = join(folder.path, "pid");
  const root = join(folder.path, "c");
  new ContentFolder(root).put(blob);
  daemon = await TestDaemon.start(join(folder.path, "d"), {
    containerd: { address: join(folder.path, "none.sock"), root },
    mkfsPath: await slowMkfs(),
  });
  snapshots = new SnapshotsClient(daemon.socket);
  diff = new DiffClient(daemon.socket);
});

afterEach(async () => {
  snapshots[Symbol.dispose]();
  diff[Symbol.dispose]();
  await daemon.kill();
  if (isChildAlive()) process.kill(childPid(), "SIGKILL");
  folder[Symbol.dispose]();
});

/** It begins its image and stays, while there is the file `hold`; beyond the daemon's group. */
async function slowMkfs(): Promise<string> {
  const real = await mkfsOfForky(folder.path);
  const script = join(folder.path, "slow-mkfs");
  const begin = `for last; do :; done; : > "$last"; echo $$ > "${pidFile}"; exec setsid sleep 1000`;
  const text = `#!/bin/sh\nif [ -e "${hold}" ]; then ${begin}; fi\nexec "${real}" "$@"\n`;
  writeFileSync(script, text, { mode: 0o755 });
  return script;
}

function childPid(): number {
  return Number(existsSync(pidFile) ? readFileSync(pidFile, "utf8") : 0);
}

/** Whether it runs; one that has ended and nobody has asked for does not. */
function isChildAlive(): boolean {
  const stat = `/proc/${childPid()}/stat`;
  return childPid() > 0 && existsSync(stat) && !/\) Z /.test(readFileSync(stat, "utf8"));
}

function images(): string[] {
  return readdirSync(join(daemon.root, "images"));
}

/** Resolves with the failure of the call, once the child runs. */
async function applyForEver(signal?: AbortSignal): Promise<{ failure: Promise<unknown> }> {
  const mounts = await snapshots.prepare("k", "");
  writeFileSync(hold, "");
  const failure = rejection(diff.apply(descriptorOf(blob), mounts, signal));
  await waitUntil(isChildAlive, "mkfs.erofs starts");
  rmSync(hold);
  return { failure };
}

describe("mkfs.erofs", () => {
  test("is killed when the client is gone, and leaves nothing", async () => {
    const controller = new AbortController();
    const { failure } = await applyForEver(controller.signal);
    expect(images()).toHaveLength(1);
    controller.abort();
    await failure;
    await waitUntil(() => !isChildAlive() && images().length === 0, "it is gone");
    expect((await daemon.stats()).conversions).toMatchObject({ done: 0, failed: 1 });
  });

  test("is killed when the daemon stops while a snapshot is committed", async () => {
    const mounts = await snapshots.prepare("k", "");
    writeFileSync(join(ownFolderOf(mounts), "file"), content);
    writeFileSync(hold, "");
    const failure = rejection(snapshots.commit("layer", "k"));
    await waitUntil(isChildAlive, "mkfs.erofs starts");
    rmSync(hold);
    snapshots[Symbol.dispose]();
    // It gives calls under way 20 s.
    await daemon.stop(60_000);
    await failure;
    expect([isChildAlive(), images()]).toEqual([false, []]);
  }, 90_000);

  test("leaves nothing when the daemon is killed and starts again", async () => {
    const { failure } = await applyForEver();
    await daemon.kill();
    await failure;
    expect(images()).toHaveLength(1);
    await daemon.start();
    expect(images()).toEqual([]);
    snapshots[Symbol.dispose]();
    snapshots = new SnapshotsClient(daemon.socket);
    await snapshots.removeAll();
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
  });
});

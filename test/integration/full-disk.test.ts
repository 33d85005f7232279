/** A disk that has no room for the log of snapshots.db: what writes fails, and nothing else. */
import { status } from "@grpc/grpc-js";
import { expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, rmSync, symlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { KiB, MiB } from "../../src/util/bytes.ts";
import { TestDaemon } from "../support/daemon.ts";
import { rejection } from "../support/rejection.ts";
import { mountSmallDisk, unmountSmallDisk } from "../support/small-disk.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";

function write(path: string, sizeBytes: number): void {
  const file = openSync(path, "w");
  try {
    for (let left = sizeBytes; left > 0;) left -= writeSync(file, Buffer.alloc(4 * KiB));
  } finally {
    closeSync(file);
  }
}

test("the daemon answers what it can while the disk of its root is full", async () => {
  using folder = scratchFolder("full");
  const disk = await mountSmallDisk(folder.path, 32 * MiB);
  try {
    const [root, spare, rest] = ["root", "spare", "rest"].map((name) => join(disk, name));
    mkdirSync(root!);
    mkdirSync(join(folder.path, "d"));
    // Its own log lies elsewhere.
    symlinkSync(root!, join(folder.path, "d", "root"));
    await using daemon = await TestDaemon.start(join(folder.path, "d"));
    using snapshots = new SnapshotsClient(daemon.socket);
    await snapshots.prepare("before", "");
    // There is room for directories, but not for long.
    write(spare!, 40 * KiB);
    expect(() => write(rest!, 64 * MiB)).toThrow("ENOSPC");
    rmSync(spare!);
    const failures: unknown[] = [];
    for (let index = 0; index < 20; index++) {
      const prepared = snapshots.prepare(`meanwhile ${index}`, "");
      failures.push(await rejection(prepared).catch(() => undefined));
    }
    expect(failures.at(-1)).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringMatching(/disk is full|no space left/),
    });
    expect((await snapshots.stat("before"))?.name).toBe("before");
    rmSync(rest!);
    await snapshots.prepare("after", "");
    await snapshots.removeAll();
    await daemon.stop();
  } finally {
    unmountSmallDisk(folder.path);
  }
}, 60_000);

/** Filling packs on a disk that is full. */
import { describe, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unmount } from "../../ffi/mount.ts";
import { waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { MiB } from "../../src/util/bytes.ts";
import { ClientFixture, LyingServer } from "../support/lying-registry.ts";
import { Filling } from "../support/ondemand/filling.ts";
import { honestly, makeLazyPack } from "../support/ondemand/lazy-pack.ts";
import { rejection } from "../support/rejection.ts";
import { mountSmallDisk } from "../support/small-disk.ts";

const diskBytes = 32 * MiB;
const ballastBytes = 22 * MiB;

describe("Filler", () => {
  test.each([64 * 1024, 4 * MiB, 40 * MiB])(
    "waits for room on a full disk, with pieces of %i bytes, and marks nothing that is not there",
    async (chunkBytes) => {
      const sizes = chunkBytes > 12 * MiB ? [36 * MiB] : [12 * MiB];
      const fixture = makeLazyPack({ sizes, chunkBytes });
      using folder = scratchFolder("full-disk");
      using stack = new DisposableStack();
      const disk = await mountSmallDisk(folder.path, diskBytes + sizes[0]! - 12 * MiB);
      // What is mapped of it stays so until it is collected.
      stack.defer(() => {
        Bun.gc(true);
        unmount(disk, { lazily: true });
      });
      const ballast = join(disk, "ballast");
      writeFileSync(ballast, Buffer.alloc(ballastBytes, 1));
      await using registry = new LyingServer(honestly([fixture]));
      using client = new ClientFixture().withServers(registry);
      const options = { root: disk, lazy: { read_timeout_ms: 4000 } };
      await using filling = new Filling(client.client, options);
      const pack = filling.open(512, fixture);
      const error = await rejection(filling.read(512, 0, fixture.content.length));
      expect(error).toMatchObject({ code: "unavailable" });
      // A piece that comes slowly has not reached the disk yet.
      await waitUntil(() => pack.reason !== undefined, "there is room");
      expect(pack.reason).toContain("ENOSPC");
      expect(pack.isFull).toBe(false);
      expect(filling.isRight(pack, fixture)).toBe(true);
      rmSync(ballast);
      await filling.read(512, 0, fixture.content.length);
      expect(pack.isFull).toBe(true);
      expect(filling.isRight(pack, fixture)).toBe(true);
    },
    60_000,
  );
});

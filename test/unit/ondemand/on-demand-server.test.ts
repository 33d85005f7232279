/** dedupd against registries that behave and that do not. */
import { describe, expect, test } from "bun:test";
import { existsSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { waitUntil } from "../../../scripts/lib/process.ts";
import type { LazyFormat } from "../../../src/lazy/model.ts";
import { pieceMapPath } from "../../../src/ondemand/piece-map.ts";
import { KiB, MiB } from "../../../src/util/bytes.ts";
import { ClientFixture, LyingServer } from "../../support/lying-registry.ts";
import {
  honestly,
  makeLazyPack,
  packContent,
  writeLazyPack,
} from "../../support/ondemand/lazy-pack.ts";
import { TestServer } from "../../support/ondemand/test-server.ts";
import { rejection } from "../../support/rejection.ts";

const sizes = [10, 5000, 3 * MiB + 17, 0, 4096, 70 * KiB, 2 * MiB];

describe("OnDemandServer", () => {
  test.each<[LazyFormat, number, number]>([
    ["estargz", 1, 0],
    ["estargz", 4, 512],
    ["zstd-chunked", 1, 700],
    ["zstd-chunked", 1, 200 * KiB],
  ])("fills a pack of %s, %i chunks a member, gaps of %i", async (format, each, gapBytes) => {
    const fixture = makeLazyPack({
      format,
      sizes,
      chunksPerMember: each,
      gapBytes,
      chunkBytes: 256 * KiB,
    });
    await using registry = new LyingServer(honestly([fixture]));
    using client = new ClientFixture().withServers(registry);
    await using dedupd = new TestServer(client.client);
    const path = writeLazyPack(dedupd.root, 512, fixture);
    await dedupd.server.start();
    expect(await dedupd.server.expose(512)).toBe(path);
    expect(packContent(path, fixture).equals(fixture.content)).toBe(true);
    await dedupd.untilComplete(512);
    expect(dedupd.server.pack(512)).toMatchObject({
      state: "complete",
      pieces: fixture.pieces.length,
      presentPieces: fixture.pieces.length,
      presentBytes: sizes.reduce((sum, size) => sum + size, 0),
    });
    expect(dedupd.crashes).toEqual([]);
  });

  test("opens again what was exposed, until it is withdrawn", async () => {
    const fixture = makeLazyPack({ sizes });
    await using registry = new LyingServer(honestly([fixture]));
    using client = new ClientFixture().withServers(registry);
    await using dedupd = new TestServer(client.client);
    writeLazyPack(dedupd.root, 512, fixture);
    await dedupd.server.start();
    await dedupd.server.expose(512);
    await dedupd.untilComplete(512);
    const asked = registry.asked.length;
    await dedupd.restart();
    await dedupd.untilComplete(512);
    expect(registry.asked.length).toBe(asked);
    await dedupd.server.withdraw(512);
    expect(dedupd.server.packs()).toEqual([]);
    await dedupd.restart();
    expect(dedupd.server.packs()).toEqual([]);
    expect(existsSync(join(dedupd.root, "packs", "512.exposed"))).toBe(false);
  });

  test("tries to open again what was exposed until it can, and says so meanwhile", async () => {
    const fixture = makeLazyPack({ sizes });
    await using registry = new LyingServer(honestly([fixture]));
    using client = new ClientFixture().withServers(registry);
    await using dedupd = new TestServer(client.client);
    const path = writeLazyPack(dedupd.root, 512, fixture);
    await dedupd.server.start();
    await dedupd.server.expose(512);
    const pieces = pieceMapPath(path);
    renameSync(pieces, `${pieces}.away`);
    await dedupd.restart();
    const unserved = async () => (await dedupd.server.status()).unserved ?? [];
    await waitUntil(async () => (await unserved()).length > 0, "all packs are served");
    expect(await unserved()).toMatchObject([{ packId: 512 }]);
    renameSync(`${pieces}.away`, pieces);
    await waitUntil(async () => (await unserved()).length === 0, "it is not tried again");
    await dedupd.untilComplete(512);
  });

  test("serves the pack that took the number of one it could not be told of", async () => {
    const [old, next] = [makeLazyPack({ sizes, seed: "old" }), makeLazyPack({ sizes: [MiB] })];
    await using registry = new LyingServer(honestly([old, next]));
    using client = new ClientFixture().withServers(registry);
    await using dedupd = new TestServer(client.client);
    const before = writeLazyPack(dedupd.root, 512, old);
    await dedupd.server.start();
    await dedupd.server.expose(512);
    await dedupd.untilComplete(512);
    rmSync(dirname(before), { recursive: true });
    const path = writeLazyPack(dedupd.root, 512, next);
    expect(await dedupd.server.expose(512)).toBe(path);
    expect(packContent(path, next).equals(next.content)).toBe(true);
    expect(dedupd.server.pack(512)).toMatchObject({ digest: next.digest });
  });

  test("copies what another pack has, and fetches the rest only", async () => {
    const first = makeLazyPack({ sizes: [MiB, MiB], seed: "shared" });
    const second = makeLazyPack({ sizes: [MiB, MiB, 3000], seed: "shared" });
    await using registry = new LyingServer(honestly([first, second]));
    using client = new ClientFixture().withServers(registry);
    await using dedupd = new TestServer(client.client);
    writeLazyPack(dedupd.root, 512, first);
    const path = writeLazyPack(dedupd.root, 513, second);
    await dedupd.server.start();
    await dedupd.server.expose(512);
    await dedupd.server.expose(513);
    expect(packContent(path, second).equals(second.content)).toBe(true);
    const { counters } = await dedupd.server.status();
    expect(counters.copiedBytes).toBe(2 * MiB);
    expect(dedupd.server.pack(513).fetchedBytes).toBeLessThan(3000);
  });

  test("takes a damaged pack for failed, and serves the others", async () => {
    const fixture = makeLazyPack({ sizes });
    await using registry = new LyingServer(honestly([fixture]));
    using client = new ClientFixture().withServers(registry);
    await using dedupd = new TestServer(client.client);
    for (const packId of [512, 513, 514]) writeLazyPack(dedupd.root, packId, fixture);
    const file = (name: string) => join(dedupd.root, "packs", name);
    truncateSync(file("512.pieces"), 100);
    writeFileSync(file("513.synced"), "x");
    await dedupd.server.start();
    for (const packId of [512, 513]) {
      const error = await rejection(dedupd.server.expose(packId));
      expect(error).toMatchObject({ code: "data_loss" });
      expect(dedupd.server.pack(packId)).toMatchObject({ state: "failed" });
    }
    await dedupd.server.expose(514);
    const { events } = await dedupd.server.events(0);
    expect(events.map(({ kind, packId }) => [kind, packId])).toContainEqual(["failed", 512]);
    expect(await rejection(dedupd.server.expose(600))).toMatchObject({ code: "not_found" });
    // Damaged while nobody looked: the next start says so too.
    truncateSync(file("514.pieces"), 100);
    await dedupd.restart();
    expect(dedupd.server.pack(514).state).toBe("failed");
    rmSync(file("514.pack"));
    await dedupd.restart();
    expect(dedupd.server.packs()).toEqual([]);
  });
});

/** dedupd as a process: its control API, and what a kill -9 in the middle of filling leaves. */
import { describe, expect, test } from "bun:test";
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { PieceMap } from "../../src/ondemand/piece-map.ts";
import { Presence, presencePaths } from "../../src/ondemand/presence.ts";
import { KiB, MiB } from "../../src/util/bytes.ts";
import { LyingServer } from "../support/lying-registry.ts";
import { DedupdProcess } from "../support/ondemand/dedupd-process.ts";
import {
  honestly,
  type LazyPackFixture,
  makeLazyPack,
  packContent,
  writeLazyPack,
} from "../support/ondemand/lazy-pack.ts";
import { Picker } from "../support/picker.ts";
import { rejection } from "../support/rejection.ts";

const seed = process.env["DEDUP_SEED"] ?? String(Date.now());
const kills = 12;
const packId = 512;

function smallPack(): LazyPackFixture {
  return makeLazyPack({ sizes: [3 * MiB, 100_000], chunkBytes: 64 * KiB });
}

/** Pieces that are said to be there and are not right. */
function wrongPieces(path: string, fixture: LazyPackFixture): number[] {
  const map = PieceMap.open(path);
  const presence = Presence.open(path, map.length);
  const content = packContent(path, fixture);
  return fixture.pieces.flatMap(({ packOffsetBytes: start, sizeBytes }, piece) => {
    const end = start + sizeBytes;
    const isRight = content.subarray(start, end).equals(fixture.content.subarray(start, end));
    return presence.has(piece) && !isRight ? [piece] : [];
  });
}

async function untilComplete({ control }: DedupdProcess): Promise<void> {
  for (let after = 0; ;) {
    if ((await control.pack(packId)).state === "complete") return;
    after = (await control.events(after)).last;
  }
}

describe("dedupd", () => {
  test("is asked over its socket, which is for its owner alone", async () => {
    const fixture = smallPack();
    await using registry = new LyingServer(honestly([fixture]));
    await using dedupd = new DedupdProcess({ lazy: { backend: "eager", background: "off" } });
    const { control } = dedupd;
    expect(await rejection(control.status())).toMatchObject({ code: "unavailable" });
    const image = `${registry.authority}/app:1`;
    const path = writeLazyPack(dedupd.root, packId, fixture, image);
    await dedupd.start();
    expect(statSync(dedupd.socketPath).mode & 0o777).toBe(0o600);
    expect(await control.status()).toMatchObject({ backend: "eager", packs: 0, pid: dedupd.pid });
    expect(await rejection(control.pack(packId))).toMatchObject({ code: "not_found" });
    expect(await rejection(control.prefetch(packId, {}))).toMatchObject({ code: "not_found" });
    const wrong = { ranges: [[-1, 2]] as [number, number][] };
    expect(await rejection(control.prefetch(packId, wrong))).toMatchObject({
      code: "invalid_argument",
    });
    expect(await control.expose(packId)).toBe(path);
    await untilComplete(dedupd);
    expect(packContent(path, fixture).equals(fixture.content)).toBe(true);
    const { events, last } = await control.events(0);
    expect(events).toMatchObject([{ kind: "complete", packId, image, number: last }]);
    expect(await control.packs()).toMatchObject([{ packId, image, state: "complete" }]);
    await control.withdraw(packId);
    await control.withdraw(packId);
    expect(await control.packs()).toEqual([]);
    expect(await dedupd.stop()).toBe(0);
  }, 30_000);

  test("lets only one process fill the packs of a node", async () => {
    await using dedupd = new DedupdProcess({ lazy: { backend: "eager" } });
    await dedupd.start();
    const second = await dedupd.runAnother();
    expect(second.exitCode).toBe(1);
    expect(second.stderr).toContain("Another process listens");
    expect((await dedupd.control.status()).pid).toBe(dedupd.pid);
  }, 30_000);

  test("ends when it is told to, with nobody left to answer what it asked itself", async () => {
    const fixture = smallPack();
    await using dedupd = new DedupdProcess({ lazy: { backend: "fuse", background: "off" } });
    writeLazyPack(dedupd.root, packId, fixture);
    for (let start = 0; start < 8; start++) {
      await dedupd.start();
      await dedupd.control.expose(packId);
      // Killed, where it does not end.
      expect(await dedupd.stop()).toBe(0);
    }
  }, 60_000);

  test("goes on after kill -9 at any moment, and believes only what is right", async () => {
    const pick = new Picker(seed);
    console.log(`DEDUP_SEED=${seed}`);
    const fixture = makeLazyPack({ sizes: [24 * MiB, 100_000], chunkBytes: 32 * KiB, seed });
    const answer = honestly([fixture]);
    let [asked, killAt] = [0, 0];
    let whenAsked = Promise.withResolvers<void>();
    await using registry = new LyingServer((request) => {
      asked += 1;
      if (asked === killAt) whenAsked.resolve();
      return answer(request);
    });
    await using dedupd = new DedupdProcess({ lazy: { backend: "eager" }, dedupd: { workers: 2 } });
    const path = writeLazyPack(dedupd.root, packId, fixture, `${registry.authority}/app:1`);
    for (let kill = 0; kill < kills; kill++) {
      await dedupd.start();
      whenAsked = Promise.withResolvers<void>();
      killAt = asked + 1 + pick.integer(3);
      const exposed = dedupd.control.expose(packId).catch(() => undefined);
      await Promise.race([whenAsked.promise, exposed]);
      await dedupd.kill();
      await exposed;
      expect(wrongPieces(path, fixture)).toEqual([]);
    }
    await dedupd.start();
    await untilComplete(dedupd);
    expect(packContent(path, fixture).equals(fixture.content)).toBe(true);
  }, 120_000);

  test("believes after another boot only what was synced", async () => {
    const fixture = smallPack();
    await using registry = new LyingServer(honestly([fixture]));
    const config = { lazy: { backend: "eager", background: "off" } } as const;
    await using dedupd = new DedupdProcess(config);
    const path = writeLazyPack(dedupd.root, packId, fixture, `${registry.authority}/app:1`);
    const { have, synced } = presencePaths(path);
    await dedupd.start();
    await dedupd.control.expose(packId);
    await untilComplete(dedupd);
    await dedupd.kill();
    // Of all that came, the disk got the first half.
    const bits = readFileSync(synced);
    bits.fill(0, bits.length >> 1);
    writeFileSync(synced, bits);
    const bytes = readFileSync(have);
    bytes.write("another", 0, "latin1");
    rmSync(have);
    writeFileSync(have, bytes);
    const half = fixture.pieces[(bits.length >> 1) * 8]?.packOffsetBytes ?? 0;
    truncateSync(path, half);
    truncateSync(path, 128 * MiB);
    await dedupd.start();
    await untilComplete(dedupd);
    expect(packContent(path, fixture).equals(fixture.content)).toBe(true);
  }, 60_000);
});

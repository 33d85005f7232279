/** What is said to be on the disk, when the disk fails and when a pack goes away. */
import { describe, expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { createLogger } from "../../../src/log.ts";
import { FillablePack } from "../../../src/ondemand/fillable-pack.ts";
import { PackSyncer } from "../../../src/ondemand/pack-syncer.ts";
import { Presence, presencePaths } from "../../../src/ondemand/presence.ts";
import { MiB } from "../../../src/util/bytes.ts";
import { makeLazyPack, writeLazyPack } from "../../support/ondemand/lazy-pack.ts";

class Syncing implements Disposable {
  readonly #folder = scratchFolder("syncing");
  readonly fixture = makeLazyPack({ sizes: [4 * MiB] });
  readonly pack: FillablePack;
  readonly completed: number[] = [];
  readonly lost: number[] = [];
  readonly syncer: PackSyncer;
  /** Instead of fdatasync(2). */
  syncData = (): Promise<void> => Promise.resolve();

  constructor() {
    this.pack = FillablePack.open(512, writeLazyPack(this.#folder.path, 512, this.fixture));
    this.syncer = new PackSyncer({
      log: createLogger("silent"),
      onLost: ({ packId }) => void this.lost.push(packId),
      onComplete: ({ packId }) => Promise.resolve(void this.completed.push(packId)),
      syncData: () => this.syncData(),
    });
  }

  /** Which pieces the next boot begins with. */
  get synced(): number[] {
    const { have } = presencePaths(this.pack.path);
    rmSync(have);
    const { length } = this.pack.pieces;
    const isThere = Presence.read(this.pack.path, length);
    return [...Array(length).keys()].filter((piece) => isThere(piece));
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

describe("PackSyncer", () => {
  test("takes for missing what may be lost after an error of the disk", async () => {
    using syncing = new Syncing();
    const { pack, syncer } = syncing;
    pack.markPresent(0);
    await syncer.flush(pack);
    for (const piece of [1, 2, 3]) pack.markPresent(piece);
    expect(pack.isFull).toBe(true);
    syncing.syncData = () => Promise.reject(new Error("EIO"));
    await syncer.flush(pack);
    expect([0, 1, 2, 3].map((piece) => pack.presence.has(piece))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(pack.presentPieces).toBe(1);
    expect(pack.presentBytes).toBe(MiB);
    expect(syncing.completed).toEqual([]);
    expect(syncing.lost).toEqual([512]);
    // The kernel told of it once; to sync again succeeds.
    syncing.syncData = () => Promise.resolve();
    await syncer.flush(pack);
    expect(syncing.synced).toEqual([0]);
    await pack.close();
  });

  test("completes a pack whose content came again after an error", async () => {
    using syncing = new Syncing();
    const { pack, syncer } = syncing;
    for (const piece of [0, 1, 2, 3]) pack.markPresent(piece);
    syncing.syncData = () => Promise.reject(new Error("EIO"));
    await syncer.flush(pack);
    syncing.syncData = () => Promise.resolve();
    for (const piece of [0, 1, 2, 3]) pack.markPresent(piece);
    await syncer.flush(pack);
    expect(syncing.completed).toEqual([512]);
    expect(syncing.synced).toEqual([0, 1, 2, 3]);
    await pack.close();
  });

  test("leaves nothing to the next pack of a number", async () => {
    using syncing = new Syncing();
    const { pack, syncer } = syncing;
    pack.markPresent(0);
    rmSync(pack.path);
    await syncer.flush(pack);
    expect(existsSync(presencePaths(pack.path).synced)).toBe(false);
    await pack.close();
  });

  test("does nothing any more when it is closed", async () => {
    using syncing = new Syncing();
    const { pack, syncer } = syncing;
    let syncs = 0;
    syncing.syncData = () => Promise.resolve(void (syncs += 1));
    pack.markPresent(0);
    await syncer.close([pack]);
    expect(syncs).toBe(1);
    for (const piece of [1, 2, 3]) pack.markPresent(piece);
    syncer.note(pack);
    expect(syncs).toBe(1);
    expect(syncing.synced).toEqual([0]);
    await pack.close();
  });

  test("does nothing with a pack that is closed", async () => {
    using syncing = new Syncing();
    const { pack, syncer } = syncing;
    let syncs = 0;
    syncing.syncData = () => Promise.resolve(void (syncs += 1));
    for (const piece of [0, 1, 2, 3]) pack.markPresent(piece);
    await pack.close();
    syncer.note(pack);
    await syncer.flush(pack);
    expect(syncs).toBe(0);
    expect(existsSync(presencePaths(pack.path).synced)).toBe(false);
  });
});

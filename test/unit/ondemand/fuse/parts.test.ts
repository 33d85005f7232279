import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ScratchFolder, scratchFolder } from "../../../../scripts/lib/temp.ts";
import { isDying } from "../../../../src/ondemand/fuse/dying.ts";
import { readMountRecord, writeMountRecord } from "../../../../src/ondemand/fuse/mount-record.ts";
import { entriesFrom, packOfName } from "../../../../src/ondemand/fuse/nodes.ts";
import { PackTable } from "../../../../src/ondemand/fuse/pack-table.ts";
import { PackViews } from "../../../../src/ondemand/fuse/pack-view.ts";
import type { LazyLayer } from "../../../support/ondemand/lazy-layer.ts";
import { makeLazyLayer } from "../../../support/ondemand/lazy-layer.ts";
import { randomBytes } from "../../../support/random.ts";

let scratch: ScratchFolder;

beforeEach(() => {
  scratch = scratchFolder("fuse");
});
afterEach(() => scratch[Symbol.dispose]());

describe("isDying()", () => {
  test("tells the living from those that are gone or cannot be seen", () => {
    expect(isDying(process.pid)).toBe(false);
    expect(isDying(2 ** 30)).toBe(true);
    expect(isDying(0)).toBe(true);
  });
});

describe("readMountRecord()", () => {
  test("gives what was written in this boot", () => {
    expect(readMountRecord(scratch.path)).toBeUndefined();
    writeMountRecord(scratch.path, { device: "0:57" });
    expect(readMountRecord(scratch.path)).toMatchObject({ device: "0:57" });
  });

  test.each(["", "{", '{"version":2,"device":"0:57","bootId":"x"}'])("does not take %j", (text) => {
    writeFileSync(join(scratch.path, "lazy.fuse.json"), text);
    expect(readMountRecord(scratch.path)).toBeUndefined();
  });
});

describe("packOfName()", () => {
  test("knows the names of packs only", () => {
    expect(packOfName("512.pack")).toBe(512);
    for (const name of ["512", "0.pack", "0512.pack", "512.pack2", "x.pack", ""])
      expect(packOfName(name)).toBeUndefined();
  });
});

describe("PackTable", () => {
  let layer: LazyLayer;
  const sizeBytes = 2 ** 27;

  beforeEach(() => {
    layer = makeLazyLayer(scratch.path, 512, new Map([["file", randomBytes("file", 300_000)]]));
  });
  afterEach(() => layer.close());

  test("shows other threads what is exposed", async () => {
    const owner = new PackTable();
    const thread = new PackTable(owner.shared);
    expect(thread.enter(512)).toBeUndefined();
    owner.expose(layer.pack, sizeBytes);
    expect(thread.enter(512)).toMatchObject({ packId: 512, file: layer.pack.file, sizeBytes });
    thread.leave(512);
    expect([...entriesFrom(0, thread)].map(({ name }) => name)).toEqual([".", "..", "512.pack"]);
    expect([...entriesFrom(514, thread)]).toEqual([]);
    await owner.withdraw(512);
    expect(thread.has(512)).toBe(false);
  });

  test("waits with withdrawing for those who use the pack", async () => {
    const owner = new PackTable();
    owner.expose(layer.pack, sizeBytes);
    owner.enter(512);
    let isGone = false;
    const withdrawing = owner.withdraw(512).then(() => (isGone = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isGone).toBe(false);
    expect(owner.enter(512)).toBeUndefined();
    owner.leave(512);
    await withdrawing;
  });

  test("lets a thread see which pieces are there as they come", async () => {
    const owner = new PackTable();
    owner.expose(layer.pack, sizeBytes);
    const views = new PackViews();
    const holds = (offset: number, length: number) => {
      const held = views.holds(owner.enter(512)!, offset, length);
      owner.leave(512);
      return held;
    };
    const { pieces, presence } = layer.pack;
    expect(holds(0, 1)).toBe(false);
    presence.set(0);
    expect(holds(0, pieces.sizeOf(0))).toBe(true);
    expect(holds(0, pieces.sizeOf(0) + 1)).toBe(false);
    expect(holds(300_000, 4096)).toBe(true);
    owner.markComplete(512);
    expect(holds(0, 300_000)).toBe(true);
    await owner.withdraw(512);
  });

  test("knows packs with one id after the other apart", async () => {
    const owner = new PackTable();
    const generations: number[] = [];
    for (const seed of ["one", "two"]) {
      const next = makeLazyLayer(
        join(scratch.path, seed),
        512,
        new Map([["f", randomBytes(seed, 9)]]),
      );
      owner.expose(next.pack, sizeBytes);
      generations.push(owner.enter(512)!.generation);
      owner.leave(512);
      await owner.withdraw(512);
      next.close();
    }
    expect(generations[0]).not.toBe(generations[1]);
  });
});

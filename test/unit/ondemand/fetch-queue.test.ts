import { describe, expect, test } from "bun:test";
import { type ScratchFolder, scratchFolder } from "../../../scripts/lib/temp.ts";
import { AppError } from "../../../src/errors.ts";
import { priority } from "../../../src/ondemand/contract.ts";
import type { Run } from "../../../src/ondemand/fill/span.ts";
import { rankedRuns } from "../../../src/ondemand/fill/run-list.ts";
import { AheadPolicy, type BackgroundMode } from "../../../src/ondemand/fill/ahead-policy.ts";
import { FetchQueue, type Work } from "../../../src/ondemand/fill/fetch-queue.ts";
import { FillablePack } from "../../../src/ondemand/fillable-pack.ts";
import { KiB, MiB } from "../../../src/util/bytes.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { makeLazyPack, writeLazyPack } from "../../support/ondemand/lazy-pack.ts";
import { Picker } from "../../support/picker.ts";

const chunkBytes = 64 * KiB;
/** Sixteen pieces that do not compress much, 300 bytes between two. */
const fixture = makeLazyPack({ sizes: [MiB], chunkBytes, gapBytes: 300 });

interface SceneOptions {
  readonly workers?: number;
  readonly gapBytes?: number;
  readonly background?: BackgroundMode;
  readonly bytesPerSecond?: number;
}

class Scene implements AsyncDisposable {
  readonly #folder: ScratchFolder = scratchFolder("queue");
  readonly #packs: FillablePack[] = [];
  readonly clock = new FakeClock();
  readonly queue: FetchQueue;
  readonly answers: string[] = [];
  pressure = { memory: 0, io: 0 };

  constructor(options: SceneOptions = {}) {
    const { workers = 8, gapBytes = 0, background = "off", bytesPerSecond = null } = options;
    const { clock } = this;
    const policy = new AheadPolicy({
      clock,
      background,
      backgroundBytesPerSecond: bytesPerSecond,
      pressure: () => this.pressure,
    });
    this.queue = new FetchQueue({ clock, workers, gapBytes, readTimeoutMs: 60_000, policy });
  }

  pack(packId: number, host = "registry.test"): FillablePack {
    const path = writeLazyPack(this.#folder.path, packId, fixture, `${host}/app:1`);
    const pack = FillablePack.open(packId, path);
    this.#packs.push(pack);
    this.queue.add(pack);
    this.queue.open(packId);
    return pack;
  }

  /** Notes the answer by its name. */
  demand(name: string, pack: FillablePack, first: number, end: number, around?: Run): void {
    const note = (answer: string) => void this.answers.push(`${name} ${answer}`);
    this.queue.demand(pack, first, end, around).then(
      () => note("ok"),
      (error: AppError) => note(error.code),
    );
  }

  /** All that may begin now. */
  take(): Work[] {
    const works: Work[] = [];
    for (let work = this.queue.next(); work !== undefined; work = this.queue.next()) {
      works.push(work);
    }
    return works;
  }

  succeed(work: Work): void {
    for (const piece of work.pieces) work.pack.markPresent(piece);
    this.queue.settle(work);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#packs.map((pack) => pack.close()));
    this.#folder[Symbol.dispose]();
  }
}

const away = { kind: "registry", error: new AppError("unavailable", "away") } as const;

function shapes(works: readonly Work[]): [number, number, readonly number[]][] {
  return works.map((work) => [work.pack.packId, work.priority, work.pieces]);
}

describe("FetchQueue", () => {
  test("what lies around comes by the same request, and is tried once", async () => {
    await using scene = new Scene({ gapBytes: 128 * KiB });
    const pack = scene.pack(600);
    pack.markPresent(2);
    scene.demand("read", pack, 3, 4, { first: 1, end: 6 });
    const [work] = scene.take();
    expect(shapes([work!])).toEqual([[600, priority.demand, [1, 3, 4, 5]]]);
    scene.queue.settle(work!, away);
    scene.clock.advance(60_000 - 1);
    expect(shapes(scene.take())).toEqual([[600, priority.demand, [3]]]);
  });

  test("what is too far from a piece to come along does not come before it", async () => {
    await using scene = new Scene({ gapBytes: 0 });
    const pack = scene.pack(600);
    scene.demand("read", pack, 3, 4, { first: 1, end: 6 });
    expect(shapes(scene.take())).toEqual([[600, priority.demand, [3]]]);
  });

  test("what was wrong before does not come along", async () => {
    await using scene = new Scene({ gapBytes: 64 * KiB });
    const pack = scene.pack(600);
    scene.demand("wrong", pack, 5, 6);
    const [work] = scene.take();
    const error = new AppError("data_loss", "other bytes");
    scene.queue.settle(work!, { kind: "mismatch", error });
    scene.demand("read", pack, 3, 4, { first: 2, end: 6 });
    expect(shapes(scene.take())).toEqual([[600, priority.demand, [3]]]);
  });

  test("lets demand overtake prefetch, and prefetch the background", async () => {
    await using scene = new Scene({ workers: 1, background: "on" });
    const pack = scene.pack(512);
    scene.clock.advance(10_000);
    scene.queue.prefetch(pack, rankedRuns([{ first: 4, end: 5 }], "request", 0));
    scene.demand("read", pack, 9, 10);
    const seen: number[] = [];
    for (let turn = 0; turn < 3; turn++) {
      const [work] = scene.take();
      seen.push(work!.priority);
      scene.succeed(work!);
      scene.clock.advance(10_000);
    }
    expect(seen).toEqual([priority.demand, priority.prefetch, priority.background]);
  });

  test("brings what was lost on this machine for readers only, for a while", async () => {
    await using scene = new Scene({ background: "on" });
    const pack = scene.pack(512);
    scene.clock.advance(10_000);
    scene.queue.prefetch(pack, rankedRuns([{ first: 4, end: 5 }], "request", 0));
    scene.queue.postpone(pack);
    expect(scene.take()).toEqual([]);
    scene.demand("read", pack, 9, 10);
    expect(scene.take().map((work) => work.priority)).toEqual([priority.demand]);
    scene.clock.advance(120_000);
    expect(scene.take().map((work) => work.priority)).toContain(priority.prefetch);
  });

  test("keeps a request free for demand", async () => {
    await using scene = new Scene({ workers: 2 });
    const [one, other] = [scene.pack(512), scene.pack(513)];
    for (const pack of [one, other])
      scene.queue.prefetch(pack, rankedRuns([{ first: 0, end: 1 }], "request", 0));
    expect(scene.take().length).toBe(1);
    scene.demand("read", one, 9, 10);
    expect(shapes(scene.take())).toEqual([[512, priority.demand, [9]]]);
  });

  test("fetches a piece once, and answers all who wait for it", async () => {
    await using scene = new Scene();
    const pack = scene.pack(512);
    for (const name of ["a", "b", "c"]) scene.demand(name, pack, 3, 4);
    const works = scene.take();
    expect(shapes(works)).toEqual([[512, priority.demand, [3]]]);
    scene.demand("late", pack, 3, 4);
    expect(scene.take()).toEqual([]);
    scene.succeed(works[0]!);
    await Promise.resolve();
    expect(scene.answers).toEqual(["a ok", "b ok", "c ok", "late ok"]);
  });

  test("joins neighbours in the blob, with what lies between them", async () => {
    const gapBytes = 50 * KiB;
    await using scene = new Scene({ gapBytes });
    const pack = scene.pack(512);
    pack.markPresent(2);
    for (const [first, end] of [
      [0, 2],
      [4, 5],
      [9, 10],
    ] as const) {
      scene.demand(`${first}`, pack, first, end);
    }
    // A piece takes more of the blob than may lie between two.
    expect(shapes(scene.take()).map(([, , pieces]) => pieces)).toEqual([[0, 1], [4], [9]]);
    await using wider = new Scene({ gapBytes: 140 * KiB });
    const other = wider.pack(512);
    other.markPresent(2);
    wider.demand("0", other, 0, 2);
    wider.demand("4", other, 4, 5);
    expect(shapes(wider.take()).map(([, , pieces]) => pieces)).toEqual([[0, 1, 3, 4]]);
  });

  test("gives packs turns", async () => {
    await using scene = new Scene({ workers: 1 });
    const [greedy, modest] = [scene.pack(512), scene.pack(513)];
    for (const piece of [0, 2, 4, 6, 8]) scene.demand(`${piece}`, greedy, piece, piece + 1);
    scene.demand("modest", modest, 5, 6);
    const order: number[] = [];
    for (let turn = 0; turn < 3; turn++) {
      const [work] = scene.take();
      order.push(work!.pack.packId);
      scene.succeed(work!);
    }
    expect(order).toEqual([512, 513, 512]);
  });

  test("asks a registry that fails one request at a time, and others as before", async () => {
    await using scene = new Scene();
    const [broken, sane] = [scene.pack(512, "broken.test"), scene.pack(513, "sane.test")];
    for (const piece of [0, 2, 4]) scene.demand(`b${piece}`, broken, piece, piece + 1);
    for (const work of scene.take()) scene.queue.settle(work, away);
    scene.clock.advance(20_000);
    for (const piece of [0, 2, 4]) scene.demand(`s${piece}`, sane, piece, piece + 1);
    const works = scene.take();
    expect(works.map(({ pack }) => pack.packId).toSorted((one, other) => one - other)).toEqual([
      512, 513, 513, 513,
    ]);
    const probe = works.find(({ pack }) => pack === broken)!;
    scene.succeed(probe);
    expect(scene.take().length).toBe(2);
  });

  test("waits between attempts, longer each time, and gives up at the time-out", async () => {
    await using scene = new Scene();
    const pack = scene.pack(512);
    scene.demand("read", pack, 0, 1);
    const times: number[] = [];
    for (let ms = 0; ms < 60_000; ms += 50) {
      for (const work of scene.take()) {
        times.push(ms);
        scene.queue.settle(work, away);
      }
      expect(scene.queue.expire()).toBe(0);
      scene.clock.advance(50);
    }
    const gaps = times.slice(1).map((ms, index) => ms - times[index]!);
    expect(gaps).toEqual(gaps.toSorted((left, right) => left - right));
    expect(gaps.length).toBeGreaterThan(5);
    expect(scene.queue.expire()).toBe(1);
    await Promise.resolve();
    expect(scene.answers).toEqual(["read unavailable"]);
    expect(pack.reason).toBe("away");
  });

  test("leaves wrong pieces to their readers", async () => {
    await using scene = new Scene({ background: "on" });
    const pack = scene.pack(512);
    scene.clock.advance(10_000);
    const [work] = scene.take();
    const [wrong = 0, ...right] = work!.pieces;
    for (const piece of right) pack.markPresent(piece);
    scene.queue.settle(work!, { kind: "mismatch", error: new AppError("data_loss", "wrong") });
    scene.clock.advance(10_000);
    expect(scene.take().flatMap(({ pieces }) => pieces)).not.toContain(wrong);
    scene.demand("read", pack, wrong, wrong + 1);
    expect(shapes(scene.take())).toEqual([[512, priority.demand, [wrong]]]);
  });

  test("works ahead at its rate, when nobody reads, and not when memory is short", async () => {
    await using scene = new Scene({ background: "on", bytesPerSecond: 100 * KiB });
    const pack = scene.pack(512);
    expect(scene.take().length).toBe(1);
    scene.clock.advance(500);
    expect(scene.take().length).toBe(0);
    scene.pressure = { memory: 50, io: 0 };
    scene.clock.advance(60_000);
    scene.queue.prefetch(pack, rankedRuns([{ first: 15, end: 16 }], "request", 0));
    expect(scene.take().length).toBe(0);
    scene.pressure = { memory: 0, io: 0 };
    const [prefetched, ...more] = scene.take();
    expect([prefetched?.priority, more]).toEqual([priority.prefetch, []]);
    scene.succeed(prefetched!);
    expect(scene.take().map((work) => work.priority)).toEqual([priority.background]);
  });

  test("prefetches what is needed first, whichever pack has it, and says why", async () => {
    await using scene = new Scene({ workers: 2 });
    const [one, other] = [scene.pack(512), scene.pack(513)];
    scene.queue.prefetch(one, [
      ...rankedRuns([{ first: 1, end: 2 }], "trace", 7),
      ...rankedRuns([{ first: 9, end: 10 }], "landmark", 1000),
    ]);
    scene.queue.prefetch(other, rankedRuns([{ first: 4, end: 5 }], "trace", 3));
    scene.queue.prefetch(other, rankedRuns([{ first: 2, end: 3 }], "trace", 9));
    scene.queue.readAhead(other, rankedRuns([{ first: 7, end: 8 }], "predictor", -1));
    const order: unknown[] = [];
    for (let [work] = scene.take(); work !== undefined; [work] = scene.take()) {
      order.push([work.pack.packId, ...work.pieces, work.cause]);
      scene.succeed(work);
    }
    expect(order).toEqual([
      [513, 7, "predictor"],
      [513, 4, "trace"],
      [512, 1, "trace"],
      [513, 2, "trace"],
      [512, 9, "landmark"],
    ]);
  });

  test("answers every request exactly once, whatever happens", async () => {
    const seed = process.env["DEDUP_SEED"] ?? String(Date.now());
    const pick = new Picker(seed);
    await using scene = new Scene({ workers: 3, background: "on", gapBytes: 100 * KiB });
    const packs = [scene.pack(512), scene.pack(513, "other.test"), scene.pack(514)];
    let asked = 0;
    let running: Work[] = [];
    for (let step = 0; step < 2000; step++) {
      running.push(...scene.take());
      const pack = pick.oneOf(packs)!;
      const first = pick.integer(16);
      const action = pick.integer(12);
      if (action < 4) scene.demand(`${asked++}`, pack, first, first + 1 + pick.integer(16 - first));
      else if (action === 4)
        scene.queue.prefetch(pack, rankedRuns([{ first, end: 16 }], "request", 0));
      else if (action === 5) scene.clock.advance(pick.integer(20_000));
      else if (action === 6) scene.queue.expire();
      else if (running.length > 0) {
        const work = running.splice(pick.integer(running.length), 1)[0]!;
        if (action < 10) scene.queue.settle(work, away);
        else scene.succeed(work);
      }
    }
    for (const work of running) scene.queue.settle(work, away);
    running = [];
    for (const { packId } of packs) scene.queue.remove(packId);
    await Promise.resolve();
    const names = scene.answers.map((answer) => Number(answer.split(" ")[0]));
    expect(names.toSorted((left, right) => left - right)).toEqual([...Array(asked).keys()]);
    expect(scene.queue.inFlight).toBe(0);
    expect(packs.flatMap((pack) => Array.from(pack.inFlight))).toEqual([]);
  });
});

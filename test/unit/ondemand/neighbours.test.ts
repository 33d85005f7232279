import { describe, expect, test } from "bun:test";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { Neighbours } from "../../../src/ondemand/fill/neighbours.ts";
import { Usefulness } from "../../../src/ondemand/fill/usefulness.ts";
import { FillablePack } from "../../../src/ondemand/fillable-pack.ts";
import { KiB, MiB } from "../../../src/util/bytes.ts";
import { makeLazyPack, writeLazyPack } from "../../support/ondemand/lazy-pack.ts";

const files = 512;
/** Half of each file compresses: some 8 KiB in the blob. */
const small = makeLazyPack({ sizes: Array.from({ length: files }, () => 16 * KiB) });
const fastLink = (): number => 100 * MiB;

async function withPack(
  fixture: typeof small,
  use: (pack: FillablePack) => void | Promise<void>,
): Promise<void> {
  using folder = scratchFolder("neighbours");
  const path = writeLazyPack(folder.path, 512, fixture, "registry.test/app:1");
  const pack = FillablePack.open(512, path);
  try {
    await use(pack);
  } finally {
    await pack.close();
  }
}

/** Guesses as the filler makes them, each of which comes before the next read. */
class Guesses {
  readonly usefulness = new Usefulness();
  readonly neighbours: Neighbours;

  constructor(bytesPerSecond: () => number) {
    this.neighbours = new Neighbours(bytesPerSecond, () => this.usefulness.figures.neighbour);
  }

  /** @returns how many pieces come along */
  read(pack: FillablePack, piece: number): number {
    if (pack.markRead(piece)) this.usefulness.noteRead(pack, piece);
    const run = this.neighbours.around(pack, piece, piece + 1) ?? { first: piece, end: piece + 1 };
    for (let each = run.first; each < run.end; each++) {
      if (this.neighbours.budget.settle(pack, each))
        this.usefulness.noteFilled(pack, each, "neighbour");
      pack.markPresent(each);
    }
    return run.end - run.first - 1;
  }

  get guessedBytes(): number {
    return this.usefulness.figures.neighbour.bytes;
  }
}

describe("Neighbours", () => {
  test("what lies around a small file in the blob comes along", () =>
    withPack(small, (pack) => {
      const { neighbours } = new Guesses(fastLink);
      expect(neighbours.around(pack, 100, 101)).toEqual({ first: 98, end: 103 });
      expect(neighbours.around(pack, 0, 1)).toEqual({ first: 0, end: 3 });
    }));

  test("a slow link is given less", () =>
    withPack(small, (pack) => {
      const { neighbours } = new Guesses(() => 3 * MiB);
      expect(neighbours.around(pack, 100, 101)).toEqual({ first: 99, end: 102 });
      const slowest = new Guesses(() => 10);
      expect(slowest.neighbours.around(pack, 200, 201)).toBeUndefined();
    }));

  test("what is there or on its way brings nothing", () =>
    withPack(small, (pack) => {
      const { neighbours } = new Guesses(fastLink);
      pack.inFlight.add(0);
      pack.markPresent(1);
      expect(neighbours.around(pack, 0, 2)).toBeUndefined();
    }));

  test("no more is guessed for nothing than 256 KiB and a twelfth of what is waited for", () =>
    withPack(small, (pack) => {
      const guesses = new Guesses(fastLink);
      let waits = 0;
      for (let piece = 0; piece < files; piece += 8) {
        guesses.read(pack, piece);
        waits += 1;
        expect(guesses.guessedBytes).toBeLessThanOrEqual(256 * KiB + (waits * 16 * KiB) / 12);
      }
      expect(guesses.guessedBytes).toBeGreaterThan(256 * KiB);
    }));

  test("guesses that are right go on", () =>
    withPack(small, (pack) => {
      const guesses = new Guesses(fastLink);
      let waits = 0;
      for (let piece = 0; piece < files; piece++) {
        if (!pack.presence.has(piece)) waits += 1;
        guesses.read(pack, piece);
      }
      expect(waits).toBe(Math.ceil(files / 3));
    }));

  test("what is asked for counts until it comes, or its pack is gone", () =>
    withPack(small, (pack) => {
      const { neighbours } = new Guesses(fastLink);
      const before = neighbours.budget.roomBytes;
      neighbours.around(pack, 0, 1);
      const { budget } = neighbours;
      const asked = before + (16 * KiB) / 12;
      expect(asked - budget.roomBytes).toBeCloseTo(2 * 16 * KiB);
      budget.settle(pack, 1);
      expect(asked - budget.roomBytes).toBeCloseTo(16 * KiB);
      budget.forget(pack);
      expect(budget.roomBytes).toBeCloseTo(asked);
    }));

  test("nothing is guessed beside a large file, nor at the end", () =>
    withPack(makeLazyPack({ sizes: [MiB, 16 * KiB] }), (pack) => {
      const { neighbours } = new Guesses(fastLink);
      expect(neighbours.around(pack, 0, 1)).toBeUndefined();
      expect(neighbours.around(pack, 1, 2)).toBeUndefined();
    }));
});

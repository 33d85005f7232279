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
    const run = this.neighbours.beside(pack, piece, piece + 1);
    pack.markPresent(piece);
    if (run === undefined) return 0;
    for (let each = run.first; each < run.end; each++) {
      if (!pack.presence.has(each)) this.usefulness.noteFilled(pack, each, "neighbour");
      pack.markPresent(each);
      this.neighbours.budget.settle(pack, each);
    }
    return run.end - run.first;
  }

  get guessedBytes(): number {
    return this.usefulness.figures.neighbour.bytes;
  }
}

describe("Neighbours", () => {
  test("what follows a small file in the blob comes along, more with each read nearby", () =>
    withPack(small, (pack) => {
      const guesses = new Guesses(fastLink);
      const first = guesses.read(pack, 0);
      const second = guesses.read(pack, first + 3);
      expect(first).toBe(3);
      expect(second).toBeGreaterThan(first);
    }));

  test("a slow link is given less", () =>
    withPack(small, (pack) => {
      const guesses = new Guesses(() => 10);
      expect([0, 10, 20].map((piece) => guesses.read(pack, piece))).toEqual([3, 3, 3]);
    }));

  test("what is there or on its way brings nothing", () =>
    withPack(small, (pack) => {
      const { neighbours } = new Guesses(fastLink);
      pack.inFlight.add(0);
      pack.markPresent(1);
      expect(neighbours.beside(pack, 0, 2)).toBeUndefined();
    }));

  test("no more than 256 KiB is guessed for nothing", () =>
    withPack(small, (pack) => {
      const guesses = new Guesses(fastLink);
      // Files that nobody has guessed at, from the end on.
      for (let piece = files - 1; piece > 0; piece -= 2)
        if (!pack.presence.has(piece)) guesses.read(pack, piece);
      for (let piece = 0; piece < files; piece++)
        if (!pack.presence.has(piece)) guesses.read(pack, piece);
      expect(guesses.guessedBytes).toBeGreaterThan(0);
      expect(guesses.guessedBytes).toBeLessThanOrEqual(256 * KiB);
    }));

  test("guesses that are right go on, with no more of them unread than they pay for", () =>
    withPack(small, (pack) => {
      const guesses = new Guesses(fastLink);
      const { neighbour } = guesses.usefulness.figures;
      let waits = 0;
      for (let piece = 0; piece < files; piece++) {
        if (!pack.presence.has(piece)) waits += 1;
        guesses.read(pack, piece);
        const unread = neighbour.bytes - neighbour.usedBytes;
        expect(unread).toBeLessThanOrEqual(256 * KiB + neighbour.usedBytes / 4);
      }
      expect(waits).toBeLessThan(files / 8);
    }));

  test("what is asked for counts until it comes, or its pack is gone", () =>
    withPack(small, (pack) => {
      const { neighbours } = new Guesses(fastLink);
      const before = neighbours.budget.roomBytes;
      const run = neighbours.beside(pack, 0, 1);
      const { budget } = neighbours;
      expect(before - budget.roomBytes).toBe(3 * 16 * KiB);
      budget.settle(pack, run!.first);
      expect(before - budget.roomBytes).toBe(2 * 16 * KiB);
      budget.forget(pack);
      expect(budget.roomBytes).toBe(before);
    }));

  test("nothing is guessed beside a large file, nor at the end", () =>
    withPack(makeLazyPack({ sizes: [MiB, 16 * KiB] }), (pack) => {
      const { neighbours } = new Guesses(fastLink);
      expect(neighbours.beside(pack, 0, 1)).toBeUndefined();
      expect(neighbours.beside(pack, 1, 2)).toBeUndefined();
    }));
});

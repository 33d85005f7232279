import { describe, expect, test } from "bun:test";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { Neighbours } from "../../../src/ondemand/fill/neighbours.ts";
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

/** As the queue and the filler would: what was asked for, and what comes along. */
function read(neighbours: Neighbours, pack: FillablePack, piece: number): number {
  const run = neighbours.beside(pack, piece, piece + 1);
  pack.markPresent(piece);
  if (run === undefined) return 0;
  for (let each = run.first; each < run.end; each++) pack.markPresent(each);
  return run.end - run.first;
}

describe("Neighbours", () => {
  test("what follows a small file in the blob comes along, more with each read nearby", () =>
    withPack(small, (pack) => {
      const neighbours = new Neighbours(fastLink);
      const first = read(neighbours, pack, 0);
      const second = read(neighbours, pack, first + 3);
      expect(first).toBe(3);
      expect(second).toBeGreaterThan(first);
    }));

  test("a slow link is given less", () =>
    withPack(small, (pack) => {
      const neighbours = new Neighbours(() => 10);
      expect([0, 10, 20].map((piece) => read(neighbours, pack, piece))).toEqual([3, 3, 3]);
    }));

  test("what is there or on its way earns nothing and brings nothing", () =>
    withPack(small, (pack) => {
      const neighbours = new Neighbours(fastLink);
      pack.inFlight.add(0);
      pack.markPresent(1);
      expect(neighbours.beside(pack, 0, 2)).toBeUndefined();
    }));

  test("wrong guesses cost a quarter of what was asked for, beyond half a megabyte", () =>
    withPack(small, (pack) => {
      const neighbours = new Neighbours(fastLink);
      let [asked, guessed] = [0, 0];
      for (let piece = 0; piece < files; piece += 2) {
        const run = neighbours.beside(pack, piece, piece + 1);
        asked += pack.pieces.compressedBytesOf(piece);
        for (let each = run?.first ?? 0; each < (run?.end ?? 0); each++)
          guessed += pack.pieces.compressedBytesOf(each);
      }
      expect(guessed).toBeGreaterThan(0);
      expect(guessed).toBeLessThanOrEqual(512 * KiB + asked / 4);
    }));

  test("nothing is guessed beside a large file, nor at the end", () =>
    withPack(makeLazyPack({ sizes: [MiB, 16 * KiB] }), (pack) => {
      const neighbours = new Neighbours(fastLink);
      expect(neighbours.beside(pack, 0, 1)).toBeUndefined();
      expect(neighbours.beside(pack, 1, 2)).toBeUndefined();
    }));
});

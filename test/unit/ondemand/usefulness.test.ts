import { describe, expect, test } from "bun:test";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { Usefulness } from "../../../src/ondemand/fill/usefulness.ts";
import { FillablePack } from "../../../src/ondemand/fillable-pack.ts";
import { makeLazyPack, writeLazyPack } from "../../support/ondemand/lazy-pack.ts";

describe("Usefulness", () => {
  test("counts what was fetched, what of it was read, and what nobody can tell of", async () => {
    using scratch = scratchFolder("unit");
    const path = writeLazyPack(scratch.path, 512, makeLazyPack({ sizes: [1, 20, 300, 4000, 5] }));
    const pack = FillablePack.open(512, path);
    const usefulness = new Usefulness();
    const read = (piece: number) => {
      if (pack.markRead(piece)) usefulness.noteRead(pack, piece);
    };
    for (const piece of [0, 1, 2]) usefulness.noteFilled(pack, piece, "trace");
    read(1);
    read(1);
    // Its reader waited already when it came.
    read(3);
    usefulness.noteFilled(pack, 3, "predictor");
    // Nobody prefetched it.
    read(4);
    usefulness.noteComplete(pack);
    read(2);
    const { trace, predictor, window } = usefulness.figures;
    expect(trace).toEqual({
      pieces: 3,
      bytes: 321,
      usedPieces: 1,
      usedBytes: 20,
      unseenPieces: 2,
      unseenBytes: 301,
    });
    expect(predictor).toMatchObject({ pieces: 1, usedPieces: 1, usedBytes: 4000 });
    expect(window).toMatchObject({ pieces: 0, usedPieces: 0 });
    expect(usefulness.ofPack(pack).trace).toEqual(trace);
    await pack.close();
  });
});

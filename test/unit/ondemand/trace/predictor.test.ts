import { describe, expect, test } from "bun:test";
import { tracePiecesMax } from "../../../../src/ondemand/trace/format.ts";
import { Predictor, windowPieces } from "../../../../src/ondemand/trace/predictor.ts";
import { hashOf, traceOf } from "../../../support/ondemand/traces.ts";

const names = Array.from({ length: 200 }, (_, index) => `piece ${index}`);

/** What the predictor says after a read: the numbers of the names. */
function following(predictor: Predictor, image: string, name: string): number[] {
  const told = predictor.following(image, Buffer.from(hashOf(name), "hex"));
  const places = new Map(names.map((each, index) => [hashOf(each), index]));
  return told.map((sha256) => places.get(sha256.toString("hex")) ?? -1);
}

function range(from: number, end: number): number[] {
  return Array.from({ length: end - from }, (_, index) => from + index);
}

describe("Predictor", () => {
  test("tells what follows, once, and more when half of it was read", () => {
    const predictor = new Predictor();
    predictor.learn("app", traceOf(names));
    expect(following(predictor, "app", "piece 3")).toEqual(range(4, 4 + windowPieces));
    expect(following(predictor, "app", "piece 4")).toEqual([]);
    expect(following(predictor, "app", "piece 1")).toEqual([]);
    const half = 4 + windowPieces / 2;
    const next = range(4 + windowPieces, half + 1 + windowPieces);
    expect(following(predictor, "app", `piece ${half}`)).toEqual(next);
    expect(following(predictor, "app", "piece 199")).toEqual([]);
    expect(following(predictor, "app", "a stranger")).toEqual([]);
  });

  test("follows who jumps ahead, and begins anew when told to", () => {
    const predictor = new Predictor();
    predictor.learn("app", traceOf(names));
    expect(following(predictor, "app", "piece 150")).toEqual(range(151, 151 + windowPieces));
    expect(following(predictor, "app", "piece 0")).toEqual([]);
    predictor.forgetReader("app");
    expect(following(predictor, "app", "piece 0")).toEqual(range(1, 1 + windowPieces));
  });

  test("knows an image by another one, the newest first, but its own before all", () => {
    const predictor = new Predictor();
    predictor.learn("old", traceOf([names[0]!, names[1]!]));
    predictor.learn("new", traceOf([names[0]!, names[2]!]));
    expect(following(predictor, "app", names[0]!)).toEqual([2]);
    expect(following(predictor, "old", names[0]!)).toEqual([1]);
    predictor.learn("new", []);
    expect(following(predictor, "other", names[0]!)).toEqual([1]);
  });

  test("forgets the oldest where there is too much", () => {
    const predictor = new Predictor();
    for (const word of ["a", "b", "c", "d"]) {
      const pieces = Array.from({ length: tracePiecesMax }, (_, index) => `${word} ${index}`);
      predictor.learn(word, traceOf(pieces));
    }
    expect(predictor.room).toBeGreaterThanOrEqual(0);
    const last = Buffer.from(hashOf("d 0"), "hex");
    const first = Buffer.from(hashOf("a 0"), "hex");
    expect(predictor.following("app", last)).toHaveLength(windowPieces);
    expect(predictor.following("app", first)).toEqual([]);
  });
});

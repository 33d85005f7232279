import { expect, test } from "bun:test";
import { fuzzTar } from "../../fuzz/tar-fuzz.ts";

/** About three seconds; `npm run fuzz` goes on for as long as it is told to. */
const inputs = 6000;

test("tars with random damage give a tree or an error, always the same", async () => {
  for (let index = 0; index < inputs; index++) {
    const problem = await fuzzTar(`test ${index}`);
    expect(problem === undefined ? "" : `seed "test ${index}": ${problem}`).toBe("");
  }
}, 120_000);

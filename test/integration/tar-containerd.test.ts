/**
 * Trees made from tars against containerd's own code on real directories: every attribute of every
 * file, for hand-made and for random chains of layers.
 */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import { writeTar } from "../support/image/tar.ts";
import { buildGoProgram } from "../support/go-program.ts";
import { compareChains } from "../support/tar/containerd-apply.ts";
import { randomChain } from "../support/tar/random-layers.ts";

setDefaultTimeout(120_000);

/** The first build of Go's standard library takes a while. */
beforeAll(async () => {
  await buildGoProgram(join(import.meta.dir, "../support/tar/apply-fixture.go"));
}, 300_000);

describe("buildTarTree() makes what containerd's differ makes", () => {
  test("of every kind of file, and of changes to all of them", async () => {
    using folder = scratchFolder("tar");
    const [result] = await compareChains(folder.path, [hardCaseLayers().map(writeTar)]);
    expect(result?.unpacked).toEqual(["ok", "ok", "ok"]);
    expect(result?.differences).toEqual([]);
    expect(result?.trees.length).toBe(3);
  });

  test("of random layers, and refuses those it refuses", async () => {
    using folder = scratchFolder("tar");
    const seeds = Array.from({ length: 400 }, (_, index) => `chain ${index}`);
    const results = await compareChains(folder.path, seeds.map(randomChain));
    const failures = results.flatMap(({ differences }, index) =>
      differences.length === 0 ? [] : [[seeds[index], ...differences]],
    );
    expect(failures).toEqual([]);
    const layers = results.flatMap(({ unpacked }) => unpacked);
    expect(layers.filter((answer) => answer === "ok").length).toBeGreaterThan(400);
    expect(layers.filter((answer) => answer !== "ok").length).toBeGreaterThan(100);
  });
});

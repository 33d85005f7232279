/**
 * Kill -9 at random moments of claiming, promoting and deleting lazy layers: what is published is
 * whole, and the rest is found and removed. The seed is printed; DEDUP_SEED replays it.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { checkRoot } from "../../src/check/check.ts";
import { openRoot } from "../../src/root.ts";
import { allLayerIds } from "../../src/store/index-database.ts";
import { listLazyPacks } from "../../src/store/lazy-layers.ts";
import { findLeftovers, removeLeftovers } from "../../src/store/reclaim.ts";
import { Picker } from "../support/picker.ts";

const kills = 15;
const seed = process.env["DEDUP_SEED"] ?? String(Date.now());
const killDelayMsMax = 400;
const program = join(import.meta.dir, "../support/lazy/claim-loop.ts");

/** Runs the loop until it is killed. */
async function runAndKill(root: string, round: number, delayMs: number): Promise<void> {
  const child = Bun.spawn([process.execPath, program, root, `${seed} ${round}`], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  expect(new TextDecoder().decode(value)).toBe("ready\n");
  await Bun.sleep(delayMs);
  child.kill("SIGKILL");
  await child.exited;
}

/** As the next start does; every layer counts as used. The number of layers and lazy packs. */
async function expectSound(path: string): Promise<readonly [number, number]> {
  const root = await openRoot(path);
  try {
    const { index, paths } = root;
    removeLeftovers(paths, findLeftovers(index, paths));
    const layerIds = allLayerIds(index);
    const layerReferences = new Map(layerIds.map((layerId) => [layerId, 1]));
    const options = { readsData: true, isExclusive: true, progress: () => undefined };
    expect(checkRoot(index, paths, { layerReferences }, options)).toEqual([]);
    return [layerIds.length, listLazyPacks(index).length];
  } finally {
    await root.close(true);
  }
}

test(`lazy layers survive ${kills} kills, and leave nothing behind (seed ${seed})`, async () => {
  using folder = scratchFolder("lazy-crash");
  const picker = new Picker(seed);
  let [layers, packs] = [0, 0];
  for (let round = 0; round < kills; round++) {
    await runAndKill(folder.path, round, picker.integer(killDelayMsMax));
    [layers, packs] = await expectSound(folder.path);
  }
  expect(layers).toBeGreaterThan(0);
  expect(packs).toBeGreaterThan(0);
}, 180_000);

/**
 * Pulling, starting and reading a family of images: containerd's snapshotters beside us. Each round
 * has a fresh node for each of them, in changing order.
 *
 * @module
 */
import { join } from "node:path";
import { Registry } from "../../test/support/registry.ts";
import { ensurePackages } from "../lib/apt.ts";
import { say } from "../lib/project.ts";
import type { ContenderName } from "./family/contenders.ts";
import type { FamilyOptions } from "./family/options.ts";
import { reportFamily } from "./family/report.ts";
import type { RoundResult } from "./family/results.ts";
import { machine } from "./figures.ts";
import { measureRound, type Subject } from "./family/round.ts";
import { familyImages } from "./images/family.ts";
import { imageSets } from "./images/recipes.ts";

async function chooseSubjects({ set, only }: FamilyOptions): Promise<Subject[]> {
  const images = await familyImages(set);
  const chosen = imageSets[set].filter(({ name }) => only.length === 0 || only.includes(name));
  return chosen.map((recipe) => {
    const image = images.find(({ name }) => name === recipe.name);
    if (image === undefined) throw new Error(`the cached images have no ${recipe.name}`);
    return { image, recipe };
  });
}

async function writeResults(
  out: string,
  markdown: string,
  rounds: readonly RoundResult[],
): Promise<void> {
  const plain = rounds.map((round) => ({ ...round, images: Object.fromEntries(round.images) }));
  const text = JSON.stringify({ machine: machine(), rounds: plain }, undefined, 2);
  const markdownFile = `${out.replace(/\.json$/, "")}.md`;
  await Bun.write(out, `${text}\n`);
  await Bun.write(markdownFile, markdown);
  say(`Results: ${out} and ${markdownFile}`);
}

/** @param scratch a folder for the registry */
export async function benchFamily(scratch: string, options: FamilyOptions): Promise<void> {
  await ensurePackages(["docker-registry"]);
  const subjects = await chooseSubjects(options);
  const registryFolder = join(scratch, "registry");
  await using registry = await Registry.start(registryFolder);
  for (const { image } of subjects) await registry.push(image);
  const results: RoundResult[] = [];
  const { peers } = options;
  for (let round = 1; round <= options.rounds; round++) {
    for (let turn = 0; turn < peers.length; turn++) {
      const contender = peers[(round - 1 + turn) % peers.length];
      if (contender === undefined) continue;
      say(`family: round ${round} of ${options.rounds}: ${contender.name}`);
      const sources = { registry, registryFolder };
      results.push(await measureRound(contender, round, subjects, sources));
    }
  }
  const named = peers.map(({ name }): [ContenderName, RoundResult[]] => [
    name,
    results.filter(({ contender }) => contender === name),
  ]);
  const markdown = reportFamily(new Map(named));
  say(`\n${markdown}`);
  await writeResults(options.out, markdown, results);
}

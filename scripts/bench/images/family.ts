/**
 * Builds a set of images and keeps them as an OCI layout in the cache.
 *
 * @module
 */
import { mkdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { type Image, type LayerBlob, makeImage } from "../../../test/support/image/oci.ts";
import { settled } from "../../../src/util/settled.ts";
import { ensurePackages } from "../../lib/apt.ts";
import { ensureCached } from "../../lib/cached.ts";
import { say, seconds } from "../../lib/project.ts";
import { cacheFolder } from "../../lib/temp.ts";
import { bootstrap, type Chain, type LayerFolders, layerFolders, runInImage } from "./chroot.ts";
import { makeLayout, readImages, writeImages } from "./layout.ts";
import { packEntries, packUpper } from "./pack.ts";
import { type ImageSet, imageSets, type LayerRecipe, layerRecipes } from "./recipes.ts";
import { Slots } from "./slots.ts";

/** Changed together with the recipes, so that an older cache is not used. */
const recipeVersion = 1;

type TreeRecipe = Exclude<LayerRecipe, { readonly kind: "files" }>;

class LayerBuilder {
  readonly #layout: string;
  /** Trees of layers that others stand on. */
  readonly #work: string;
  readonly #slots = new Slots(Math.min(4, availableParallelism()));
  readonly #trees = new Map<string, Promise<Chain>>();
  readonly #blobs = new Map<string, Promise<LayerBlob>>();

  constructor(layout: string, work: string) {
    this.#layout = layout;
    this.#work = work;
  }

  /** A layer in the layout; each is built once. */
  blob(name: string): Promise<LayerBlob> {
    const known = this.#blobs.get(name) ?? this.#pack(name);
    this.#blobs.set(name, known);
    return known;
  }

  async #pack(name: string): Promise<LayerBlob> {
    const recipe = layerRecipes[name];
    if (recipe === undefined) throw new Error(`no recipe for layer ${name}`);
    if (recipe.kind !== "files") await this.#tree(name, recipe);
    return this.#slots.run(async () => {
      const startMs = performance.now();
      const folder = join(this.#work, name);
      const blob = await (recipe.kind === "files"
        ? packEntries(this.#layout, recipe.entries(), recipe.level)
        : packUpper(this.#layout, layerFolders(folder).upper, folder));
      say(`  packed layer ${name} in ${seconds(performance.now() - startMs)}`);
      return blob;
    });
  }

  /** The files of a layer, for those that stand on it; resolves with them and all below. */
  #tree(name: string, recipe: TreeRecipe): Promise<Chain> {
    const known = this.#trees.get(name) ?? this.#build(name, recipe);
    this.#trees.set(name, known);
    return known;
  }

  async #build(name: string, recipe: TreeRecipe): Promise<Chain> {
    const below = await this.#chainBelow(name, recipe);
    const folders = layerFolders(join(this.#work, name));
    await this.#slots.run(async () => {
      const startMs = performance.now();
      if (recipe.kind === "debian") await bootstrap(below, folders, recipe.security);
      else await runInImage(below, folders, recipe.commands);
      await removeScratch(folders);
      say(`  built layer ${name} in ${seconds(performance.now() - startMs)}`);
    });
    return { ...below, lowers: [folders.upper, ...below.lowers] };
  }

  async #chainBelow(name: string, recipe: TreeRecipe): Promise<Chain> {
    if (recipe.kind === "debian") {
      return { suite: recipe.suite, lowers: [], lists: join(this.#work, `${name}.lists`) };
    }
    const below = layerRecipes[recipe.on];
    if (below === undefined || below.kind === "files") {
      throw new Error(`layer ${name} cannot stand on ${recipe.on}`);
    }
    return this.#tree(recipe.on, below);
  }
}

async function removeScratch({ root, work, debs }: LayerFolders): Promise<void> {
  for (const path of [root, work, debs]) await rm(path, { recursive: true, force: true });
}

async function buildSet(set: ImageSet, layout: string): Promise<void> {
  await ensurePackages(["debootstrap"]);
  const work = join(layout, "work");
  await mkdir(work);
  makeLayout(layout);
  const builder = new LayerBuilder(layout, work);
  const blobsOf = (layers: readonly string[]) =>
    settled(layers.map((layer) => builder.blob(layer)));
  const images = await settled(
    imageSets[set].map(async ({ name, layers }) => makeImage(name, await blobsOf(layers))),
  );
  writeImages(layout, images);
  await rm(work, { recursive: true });
}

/** The images of a set; built at the first call, which takes minutes and downloads packages. */
export async function familyImages(set: ImageSet): Promise<Image[]> {
  const folder = join(cacheFolder("family"), `${set}-v${recipeVersion}-${process.arch}`);
  await ensureCached(folder, `the ${set} image family`, (partial) => buildSet(set, partial));
  return readImages(folder);
}

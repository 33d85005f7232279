/**
 * Two sibling images of real Debian content: the same recipe, built twice, the second time with one
 * package more. They share no blob, because nothing is rebuilt bit for bit; most files are equal.
 *
 * @module
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Image, type LayerBlob, makeImage } from "../../test/support/image/oci.ts";
import { debianMirror, ensurePackages } from "../lib/apt.ts";
import { ensureCached } from "../lib/cached.ts";
import { runCommand } from "../lib/process.ts";
import { cacheFolder } from "../lib/temp.ts";

const suite = "bookworm";

/** Changed together with the recipe below, so that an older cache is not used. */
const recipeVersion = 1;

interface Recipe {
  readonly tag: string;
  readonly packages: readonly string[];
  /** The content of /srv/app/version. */
  readonly version: string;
}

const recipes: readonly Recipe[] = [
  { tag: "app:1", packages: ["python3-minimal"], version: "1" },
  { tag: "app:2", packages: ["python3-minimal", "less"], version: "2" },
];

async function buildTree(tree: string, recipe: Recipe): Promise<void> {
  await runCommand([
    "debootstrap",
    "--variant=minbase",
    `--cache-dir=${cacheFolder("demo", "packages")}`,
    `--include=${recipe.packages.join(",")}`,
    suite,
    tree,
    await debianMirror(),
  ]);
  // What no image keeps, and what would flatter us: the same lists in both.
  const tidy = `cd "$1" && rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/*`;
  await runCommand(["sh", "-c", tidy, "sh", tree]);
  await mkdir(join(tree, "srv/app"), { recursive: true });
  await Bun.write(join(tree, "srv/app/version"), `${recipe.version}\n`);
}

/** Packs a tree as one gzip layer, with owners, times and attributes as they are. */
async function packTree(tree: string, folder: string): Promise<void> {
  const tar = join(folder, "layer.tar");
  await runCommand([
    "tar",
    "--create",
    "--format=pax",
    "--pax-option=delete=atime,delete=ctime",
    "--sort=name",
    "--numeric-owner",
    "--xattrs",
    `--file=${tar}`,
    `--directory=${tree}`,
    ".",
  ]);
  const diffId = await sha256OfFile(tar);
  await runCommand(["gzip", "-6", "--no-name", tar]);
  await Bun.write(join(folder, "diff-id"), diffId);
}

async function sha256OfFile(file: string): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  for await (const part of Bun.file(file).stream()) hash.update(part);
  return hash.digest("hex");
}

async function buildLayer(folder: string, recipe: Recipe): Promise<void> {
  await ensurePackages(["debootstrap"]);
  const tree = join(folder, "tree");
  await mkdir(tree, { mode: 0o755 });
  await buildTree(tree, recipe);
  await packTree(tree, folder);
  await rm(tree, { recursive: true });
}

async function cachedImage(recipe: Recipe): Promise<Image> {
  const name = `${recipe.tag.replace(":", "-")}-v${recipeVersion}-${process.arch}`;
  const folder = join(cacheFolder("demo"), name);
  await ensureCached(folder, `image ${recipe.tag} of Debian packages`, (partial) =>
    buildLayer(partial, recipe),
  );
  const blob = Bun.file(join(folder, "layer.tar.gz"));
  const layer: LayerBlob = {
    digest: `sha256:${await sha256OfFile(join(folder, "layer.tar.gz"))}`,
    sizeBytes: blob.size,
    diffId: `sha256:${await Bun.file(join(folder, "diff-id")).text()}`,
    read: () => blob.bytes(),
  };
  return makeImage(recipe.tag, [layer]);
}

/** The two images; built at the first call, which takes a minute and downloads some 50 MB. */
export async function demoImages(): Promise<Image[]> {
  const images: Image[] = [];
  for (const recipe of recipes) images.push(await cachedImage(recipe));
  return images;
}

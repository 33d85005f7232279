/**
 * A Debian forky tree: containerd 2.1, newer than what Debian 12 has.
 *
 * @module
 */
import { existsSync, mkdtempSync } from "node:fs";
import { chmod, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { debianMirror, ensurePackages } from "./apt.ts";
import { runCommand } from "./process.ts";
import { say, seconds } from "./project.ts";
import { cacheFolder } from "./temp.ts";

const suite = "forky";
const packages = [
  "containerd",
  "runc",
  "busybox-static",
  "ca-certificates",
  "erofs-utils",
  "attr",
] as const;

async function buildTree(tree: string): Promise<void> {
  const mirror = await debianMirror();
  await runCommand([
    "debootstrap",
    "--variant=minbase",
    // The keyring of Debian 12 ends before forky's keys; the tree only ever runs tests.
    "--no-check-gpg",
    `--include=${packages.join(",")}`,
    suite,
    tree,
    mirror,
    // The debootstrap of Debian 12 knows no forky; all later suites use the script of sid.
    "/usr/share/debootstrap/scripts/sid",
  ]);
}

/** Makes the tree, unless the cache has it; resolves with its path. Takes half a minute. */
export async function ensureForky(): Promise<string> {
  const cache = cacheFolder();
  const tree = join(cache, suite);
  // The tree gets its name when it is complete, so an interrupted build is not taken for it.
  if (existsSync(tree)) return tree;
  await ensurePackages(["debootstrap"]);
  say(`Building a Debian ${suite} tree for containerd 2.1 (kept in ${tree}) …`);
  const startMs = performance.now();
  const partial = mkdtempSync(join(cache, `${suite}.partial-`));
  try {
    await chmod(partial, 0o755);
    await buildTree(partial);
    await rename(partial, tree);
  } catch (cause) {
    await rm(partial, { recursive: true, force: true });
    throw new Error(`Cannot build a Debian ${suite} tree with debootstrap`, { cause });
  }
  say(`Built the ${suite} tree in ${seconds(performance.now() - startMs)}`);
  return tree;
}

/**
 * A Debian forky tree: containerd 2.1, newer than what Debian 12 has.
 *
 * @module
 */
import { join } from "node:path";
import { debianMirror, ensurePackages } from "./apt.ts";
import { ensureCached } from "./cached.ts";
import { runCommand } from "./process.ts";
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
  const tree = join(cacheFolder(), suite);
  await ensureCached(tree, `a Debian ${suite} tree for containerd 2.1`, async (partial) => {
    await ensurePackages(["debootstrap"]);
    await buildTree(partial);
  });
  return tree;
}

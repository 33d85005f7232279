/**
 * What is in the page cache when something is measured.
 *
 * @module
 */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Digest, Image } from "../../../test/support/image/oci.ts";
import { ensureForky } from "../../lib/forky.ts";
import { runCommand } from "../../lib/process.ts";
import { binaryFile } from "../../lib/project.ts";

/** Drops pages, directory entries and inodes (Documentation/admin-guide/sysctl/vm.rst). */
const everything = "3";

const programs = ["bin/containerd", "bin/ctr", "bin/containerd-shim-runc-v2", "bin/mkfs.erofs"];

/** The programs of all contenders, with their libraries. */
async function engineFiles(): Promise<string[]> {
  const system = join(await ensureForky(), "usr");
  const libraryFolders = readdirSync(join(system, "lib"))
    .filter((name) => name.endsWith("-linux-gnu"))
    .map((name) => join(system, "lib", name));
  const libraries = libraryFolders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => /^(?:ld-|lib).*\.so/.test(name))
      .map((name) => join(folder, name)),
  );
  const own = [...programs, "sbin/runc"].map((name) => join(system, name));
  return [...own, ...libraries, binaryFile];
}

/** The files in which docker-registry keeps the blobs of an image (its storage driver layout). */
function registryFiles(folder: string, image: Image): string[] {
  const path = (digest: Digest) => {
    const hex = digest.slice("sha256:".length);
    return join(folder, "blobs/docker/registry/v2/blobs/sha256", hex.slice(0, 2), hex, "data");
  };
  return image.layers.map(({ digest }) => path(digest));
}

async function readBack(files: readonly string[]): Promise<void> {
  await runCommand(["sh", "-c", 'cat "$@" > /dev/null', "sh", ...files]);
}

/** Empties the page cache but for the programs that are measured. */
export async function dropCaches(): Promise<void> {
  await runCommand(["sync"]);
  writeFileSync("/proc/sys/vm/drop_caches", everything);
  await readBack(await engineFiles());
}

/** The same, with the blobs of an image in the cache: its sender is not what is measured. */
export async function dropCachesButBlobs(registryFolder: string, image: Image): Promise<void> {
  await dropCaches();
  await readBack(registryFiles(registryFolder, image));
}

/**
 * Folders of the cache that are expensive to make.
 *
 * A folder gets its name when it is complete, so an interrupted build is not taken for it. What an
 * interrupted build leaves, mounts of debootstrap among it, goes before the next build.
 *
 * @module
 */
import { existsSync, readdirSync } from "node:fs";
import { chmod, mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { releaseBelow } from "./leftovers.ts";
import { say, seconds } from "./project.ts";

function partialFolder(folder: string, pid: number): string {
  return `${folder}.partial-${pid}`;
}

async function discard(partial: string): Promise<void> {
  await releaseBelow(partial);
  await rm(partial, { recursive: true, force: true });
}

/** Removes what builds of the folder left whose processes have ended. */
async function discardStale(folder: string): Promise<void> {
  const prefix = partialFolder(basename(folder), 0).slice(0, -1);
  for (const name of readdirSync(dirname(folder))) {
    if (!name.startsWith(prefix)) continue;
    const isAlive = existsSync(`/proc/${name.slice(prefix.length)}`);
    if (!isAlive) await discard(join(dirname(folder), name));
  }
}

/**
 * Makes a folder, unless it is there. Its parent exists.
 *
 * @param what for the progress line and the error: "a Debian tree"
 * @param build fills the folder it is given, which is empty
 */
export async function ensureCached(
  folder: string,
  what: string,
  build: (partial: string) => Promise<void>,
): Promise<void> {
  if (existsSync(folder)) return;
  await discardStale(folder);
  say(`Building ${what} (kept in ${folder}) …`);
  const startMs = performance.now();
  const partial = partialFolder(folder, process.pid);
  try {
    await mkdir(partial);
    await chmod(partial, 0o755);
    await build(partial);
    await rename(partial, folder);
  } catch (cause) {
    await discard(partial);
    throw new Error(`Cannot build ${what}`, { cause });
  }
  say(`Built ${what} in ${seconds(performance.now() - startMs)}`);
}

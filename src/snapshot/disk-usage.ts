/**
 * How much disk a directory takes: allocated bytes and inodes, hard links once, as containerd's
 * continuity/fs counts it. Names are bytes, for they need not be UTF-8.
 *
 * A container may be at work in the directory: what goes while we look is not counted, and neither
 * is what it hid deeper than a path can name.
 *
 * @module
 */
import type { BigIntStats } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import type { Usage } from "./contract.ts";

/** Unit of `st_blocks`, whatever the file system's block size (stat(2)). */
const blockBytes = 512;
/** Calls given to the thread pool at once: enough to keep it busy, little enough to share it. */
const statsAtOnce = 32;

const unreachableCodes: ReadonlySet<unknown> = new Set(["ENOENT", "ENOTDIR", "ENAMETOOLONG"]);

const separator = Buffer.from("/");

/** Rejects with node's ENOENT where the directory itself is missing. */
export async function diskUsage(directory: string): Promise<Usage> {
  const walk = new UsageWalk();
  walk.count(await lstat(directory, { bigint: true }));
  const pending: Buffer[] = [Buffer.from(directory)];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const path of await walk.directory(next)) pending.push(path);
  }
  return walk.usage;
}

class UsageWalk {
  readonly #linked = new Set<string>();
  #sizeBytes = 0;
  #inodes = 0;

  get usage(): Usage {
    return { sizeBytes: this.#sizeBytes, inodes: this.#inodes };
  }

  count(status: BigIntStats): void {
    if (status.nlink > 1n && !status.isDirectory()) {
      const identity = `${status.dev}:${status.ino}`;
      if (this.#linked.has(identity)) return;
      this.#linked.add(identity);
    }
    this.#inodes += 1;
    this.#sizeBytes += Number(status.blocks) * blockBytes;
  }

  /** Counts what is in the directory; returns the directories among it. */
  async directory(path: Buffer): Promise<Buffer[]> {
    const names = await orUnreachable(readdir(path, { encoding: "buffer" }));
    const directories: Buffer[] = [];
    for (let at = 0; at < (names?.length ?? 0); at += statsAtOnce) {
      const paths = (names ?? [])
        .slice(at, at + statsAtOnce)
        .map((name) => Buffer.concat([path, separator, name]));
      const statuses = await Promise.all(
        paths.map((child) => orUnreachable(lstat(child, { bigint: true }))),
      );
      for (const [index, status] of statuses.entries()) {
        if (status === undefined) continue;
        this.count(status);
        if (status.isDirectory()) directories.push(paths[index] as Buffer);
      }
    }
    return directories;
  }
}

async function orUnreachable<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (error instanceof Error && "code" in error && unreachableCodes.has(error.code)) {
      return undefined;
    }
    throw error;
  }
}

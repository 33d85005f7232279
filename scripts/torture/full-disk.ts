/** A file system without a free block. */
import { rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { tryCommand } from "../lib/process.ts";

/** Takes all room there is, without writing; it is free again when that is disposed of. */
export async function fillDisk(folder: string): Promise<Disposable> {
  const ballast = join(folder, "ballast");
  const { bsize: blockBytes, bavail } = statfsSync(folder);
  let offset = 0;
  for (let blocks = bavail; blocks >= 1; blocks = Math.floor(blocks / 2)) {
    // What does not fit is tried again by halves: the file system needs some for itself.
    while (await takes(ballast, offset, blocks * blockBytes)) offset += blocks * blockBytes;
  }
  return { [Symbol.dispose]: () => rmSync(ballast, { force: true }) };
}

async function takes(path: string, offset: number, length: number): Promise<boolean> {
  const range = ["--offset", String(offset), "--length", String(length)];
  return (await tryCommand(["fallocate", ...range, path])).exitCode === 0;
}

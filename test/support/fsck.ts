/**
 * fsck.erofs of Debian forky (1.9), which is newer than Debian 12's: another reader of our images.
 *
 * Without `--extract` it walks the directories and reads every inode. With it, it reads all content
 * and checks that it is well encoded. What it cannot do (1.9.4): read content of a device that is
 * addressed by the device's place in the common address space (`uniaddr`), as all of ours is. It
 * finds the device, but then reads the image file, at the offset the content has in the device. So
 * to have it read content, the image must be folded into its pack.
 *
 * @module
 */
import { closeSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { ensureForky } from "../../scripts/lib/forky.ts";
import { runCommand } from "../../scripts/lib/process.ts";

const libraryFolders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/** It overruns an array beyond that (`blobfd` of struct erofs_sb_info), and mostly crashes. */
export const fsckDevicesMax = 256;

export interface FsckResult {
  readonly exitCode: number;
  readonly output: string;
}

/** @param packs in the order of the image's device table */
export async function fsck(
  image: string,
  packs: readonly string[],
  options: readonly string[] = [],
): Promise<FsckResult> {
  const forky = await ensureForky();
  const { exitCode, stdout, stderr } = Bun.spawnSync([
    join(forky, "lib64/ld-linux-x86-64.so.2"),
    "--library-path",
    libraryFolders.map((path) => join(forky, path)).join(":"),
    join(forky, "usr/bin/fsck.erofs"),
    ...packs.map((pack) => `--device=${pack}`),
    ...options,
    image,
  ]);
  return { exitCode, output: `${stdout.toString()}${stderr.toString()}` };
}

/**
 * Makes `target` a copy of the pack with the image at its start.
 *
 * @param freeBytes the start of the pack that holds nothing the image uses
 */
export async function foldIntoPack(
  image: string,
  pack: string,
  target: string,
  freeBytes: number,
): Promise<void> {
  if (statSync(image).size > freeBytes) throw new Error("the image reaches into the content");
  await runCommand(["cp", "--sparse=always", pack, target]);
  const file = openSync(target, "r+");
  try {
    writeSync(file, readFileSync(image), 0, undefined, 0);
  } finally {
    closeSync(file);
  }
}

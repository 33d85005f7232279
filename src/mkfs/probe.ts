/**
 * Finds how mkfs.erofs has to be run here, by making an image, mounting it and reading it.
 *
 * Extended options are in no help text, what the kernel reads is another question, and versions
 * have got attributes wrong: what a layer needs has been seen to come out right before the daemon
 * is ready.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { AppError, describeError } from "../errors.ts";
import { readTree } from "../layer/directory-tree.ts";
import type { MountMode } from "../mount/contract.ts";
import { type MountFunctions, realFunctions, withProbeFolder } from "../mount/probe.ts";
import { KiB } from "../util/bytes.ts";
import { ContentSpool } from "./content-spool.ts";
import { makeImage } from "./image.ts";
import { probeTree } from "./probe-tree.ts";
import { askMkfs, type MkfsTool } from "./tool.ts";
import { differenceOf } from "./tree-difference.ts";

export interface MkfsRequest {
  readonly path: string;
  /** Null: the best that work. */
  readonly options: readonly string[] | null;
  readonly mode: MountMode;
}

export interface MkfsResult {
  readonly tool: MkfsTool;
  readonly version: string;
  /** What was tried before, and why it did not do; for the log. */
  readonly failed: readonly { readonly tried: readonly string[]; readonly reason: string }[];
}

/** Smallest first. */
const candidates: readonly (readonly string[])[] = [
  ["-zlz4hc,9", "-Eztailpacking,dedupe"],
  ["-zlz4hc,9", "-Eztailpacking"],
  ["-zlz4hc,9"],
];
const chunkBytes = 64 * KiB;

/**
 * Writes to `scratchDirectory` as `probeMountMode` does. May block: for worker threads.
 *
 * Rejects with AppError `failed_precondition`: the tool is missing, or no options make
 * an image that is read as it should be.
 */
export async function probeMkfs(
  { path, options, mode }: MkfsRequest,
  scratchDirectory: string,
  functions: MountFunctions = realFunctions,
): Promise<MkfsResult> {
  const { version, readsTar, hasBlockSize } = await askMkfs(path);
  const sources = readsTar ? (["tar", "directory"] as const) : (["directory"] as const);
  const tools = sources.flatMap((source) =>
    (options === null ? candidates : [options]).map((tried): MkfsTool => {
      return { path, source, hasBlockSize, options: tried };
    }),
  );
  const failed: { tried: readonly string[]; reason: string }[] = [];
  for (const tool of tools) {
    const tried = [...tool.options, `(${tool.source})`];
    try {
      await withProbeFolder(scratchDirectory, functions, (folder) =>
        tryTool(tool, folder, mode, functions),
      );
      return { tool, version, failed };
    } catch (error) {
      failed.push({ tried, reason: describeError(error) });
    }
  }
  const reasons = failed.map(({ tried, reason }) => `${tried.join(" ")}: ${reason}`).join("; ");
  const message = `Cannot make images with "${path}" ${version}: ${reasons}`;
  throw new AppError("failed_precondition", message, {
    remedy:
      'set "erofs.mkfs_options" to what it and the kernel know, or "erofs.builder" to "native"',
  });
}

async function tryTool(
  tool: MkfsTool,
  folder: string,
  mode: MountMode,
  functions: MountFunctions,
): Promise<void> {
  using spool = new ContentSpool({ images: folder }, chunkBytes);
  const tree = await probeTree({ sink: spool.sink, chunkBytes });
  const image = await makeImage({ tool, tree, spool, folder, isCancelled: () => false });
  const target = join(folder, "mount");
  functions.mount({ image: image.path, packs: [] }, target, mode);
  try {
    using found = new ContentSpool({ images: folder }, chunkBytes);
    const read = await readTree(target, { sink: found.sink, chunkBytes });
    const difference = differenceOf([tree.tree, spool], [read.tree, found]);
    if (difference !== undefined) throw new AppError("data_loss", difference);
  } finally {
    functions.unmount(target);
    rmSync(image.path, { force: true });
  }
}

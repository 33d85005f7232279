/**
 * Makes the image of a layer with mkfs.erofs: one file with all content in it.
 *
 * @module
 */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { blockSizeBytes } from "../erofs/format.ts";
import { restampSuperblock } from "../erofs/superblock.ts";
import type { LayerTree } from "../layer/directory-tree.ts";
import { storageError } from "../store/pack-writer.ts";
import type { ImageFile } from "../store/publish.ts";
import { sha256OfFile } from "../util/file-hash.ts";
import type { ContentSpool } from "./content-spool.ts";
import { unpackTree } from "./directory-source.ts";
import { MkfsError, runMkfs } from "./run.ts";
import { refusalOf, tarOf } from "./tar-source.ts";
import type { MkfsTool } from "./tool.ts";
import { walkTree } from "./walk-tree.ts";

export interface ImageRequest {
  readonly tool: MkfsTool;
  readonly tree: LayerTree;
  /** Holds the content of the tree. */
  readonly spool: ContentSpool;
  /** Where the image comes to lie, under a temporary name. */
  readonly folder: string;
  /** Whether anybody still waits for it. */
  readonly isCancelled: () => boolean;
}

/**
 * Resolves with the image, synced; its name is the caller's to rename or remove. Rejects as
 * `runMkfs` does, and with MkfsError for a tree that mkfs.erofs cannot be told of. Leaves nothing
 * behind then.
 */
export async function makeImage(request: ImageRequest): Promise<ImageFile> {
  const { tool, tree, spool, folder, isCancelled } = request;
  const refusal = refusalOf(tree, tool.source);
  if (refusal !== undefined) throw new MkfsError(`The layer has ${refusal}`);
  const path = join(folder, `new-${crypto.randomUUID()}`);
  const unpacked = `${path}-files`;
  const blockSize = tool.hasBlockSize ? ["-b4096"] : [];
  const options = ["--quiet", ...blockSize, ...fixedOptions, ...tool.options];
  const run = { scratchFolder: folder, isCancelled };
  try {
    if (tool.source === "tar") {
      const command = [tool.path, "--tar=f", ...options, path];
      await runMkfs({ ...run, command, input: tarOf(tree, spool) });
    } else {
      unpackTree(tree, spool, unpacked);
      await runMkfs({ ...run, command: [tool.path, ...options, path, unpacked] });
    }
    return finishImage(path, countInodes(tree));
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    rmSync(unpacked, { force: true, recursive: true });
  }
}

/** So that only the content tells images apart, and each inode has a time of its own. */
const fixedOptions = ["-U00000000-0000-0000-0000-000000000000", "-Eforce-inode-extended"] as const;

const uuidBytes = 16;

/**
 * overlayfs takes two lower layers with one UUID for the same file system, so each image gets its
 * own: from its content, that equal layers stay equal images.
 */
function finishImage(path: string, inodes: number): ImageFile {
  const file = openSync(path, "r+");
  try {
    const block = Buffer.alloc(blockSizeBytes);
    readSync(file, block, 0, block.length, 0);
    restampSuperblock(block, new Uint8Array(uuidBytes));
    writeSync(file, block, 0, block.length, 0);
    restampSuperblock(block, sha256OfFile(path).subarray(0, uuidBytes));
    writeSync(file, block, 0, block.length, 0);
    fsyncSync(file);
    const { size: sizeBytes, blocks } = fstatSync(file);
    const sha256 = sha256OfFile(path);
    return { path, sha256, sizeBytes, diskBytes: blocks * 512, inodes, packs: [], builder: "mkfs" };
  } catch (error) {
    throw storageError(`finish image "${path}"`, error);
  } finally {
    closeSync(file);
  }
}

function countInodes({ tree }: LayerTree): number {
  let count = 0;
  for (const { linkOf } of walkTree(tree)) if (linkOf === undefined) count += 1;
  return count;
}

/**
 * Builds a layer with mkfs.erofs, or without it where it cannot make the image.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import type { LayerTree } from "../layer/directory-tree.ts";
import type { ContentOptions } from "../layer/file-content.ts";
import { ChunkTable } from "../store/chunk-table.ts";
import type { StorePaths } from "../store/paths.ts";
import type { BuiltLayer } from "../store/publish.ts";
import { ContentSpool } from "./content-spool.ts";
import { makeImage } from "./image.ts";
import { moveContent } from "./move-content.ts";
import { MkfsError } from "./run.ts";
import type { MkfsTool } from "./tool.ts";

export interface MkfsBuilder {
  readonly tool: MkfsTool;
  /** Whether nobody waits for the layer any more; then the child is killed. */
  readonly isCancelled: () => boolean;
  /** Is told why a layer is built without it. */
  readonly onFallback: (reason: string) => void;
}

/** A layer but for what keeps the content of its small files. */
export type BuiltContent<Tree> = Omit<BuiltLayer, "inline"> & Tree;

/** Makes a tree while it brings the content of the files to the sink. */
export type ReadContent<Tree> = (sink: ContentOptions["sink"]) => Promise<Tree>;

export interface MkfsBuild<Tree> {
  readonly paths: StorePaths;
  readonly chunkBytes: number;
  readonly read: ReadContent<Tree>;
  /** Builds the layer in our own way, of the content that `read` brings. */
  readonly buildOtherwise: (read: ReadContent<Tree>) => Promise<BuiltContent<Tree>>;
}

/** Rejects as `makeImage` does, though not with MkfsError. */
export async function buildByMkfs<Tree extends LayerTree>(
  { tool, isCancelled, onFallback }: MkfsBuilder,
  { paths, chunkBytes, read, buildOtherwise }: MkfsBuild<Tree>,
): Promise<BuiltContent<Tree>> {
  using spool = new ContentSpool(paths, chunkBytes);
  const tree = await read(spool.sink);
  try {
    const image = await makeImage({ tool, tree, spool, folder: paths.images, isCancelled });
    return { ...tree, ...nothingInPacks(), image };
  } catch (error) {
    if (!(error instanceof MkfsError)) throw error;
    onFallback(describeError(error));
    return await buildOtherwise(async (sink) => {
      await moveContent(tree, spool, { sink, chunkBytes });
      return tree;
    });
  }
}

function nothingInPacks() {
  return {
    table: new ChunkTable(undefined),
    restoredChunks: 0,
    lostBlocks: new Set<never>(),
    triedPlaces: new Set<never>(),
  };
}

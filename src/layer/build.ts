/**
 * Builds and publishes layers: the part of a conversion that runs in a worker thread.
 *
 * Two steps, because the second needs the lock of the store and the first, the long one, does not.
 * The worker keeps what it built in between.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import type { ExtentCodec } from "../erofs/extent-codec.ts";
import { describeError } from "../errors.ts";
import { ContentSpool } from "../mkfs/content-spool.ts";
import { makeImage } from "../mkfs/image.ts";
import { moveContent } from "../mkfs/move-content.ts";
import { MkfsError } from "../mkfs/run.ts";
import type { MkfsTool } from "../mkfs/tool.ts";
import { ChunkSink } from "../store/chunk-sink.ts";
import { ChunkTable } from "../store/chunk-table.ts";
import type { BlockAddress } from "../store/layout.ts";
import { PackWriter } from "../store/pack-writer.ts";
import type { StorePaths } from "../store/paths.ts";
import { publishLayer, type BuiltLayer, type PublishedLayer } from "../store/publish.ts";
import { readTree, type LayerTree } from "./directory-tree.ts";
import type { ContentOptions } from "./file-content.ts";

export interface BuildEnvironment {
  readonly database: Database;
  readonly paths: StorePaths;
  readonly chunkBytes: number;
  /** How new content is compressed; undefined: not at all. */
  readonly codec?: ExtentCodec | undefined;
  readonly reserve: (count: number) => Promise<BlockAddress>;
  /** Has mkfs.erofs write the images; undefined: we do. */
  readonly mkfs?: MkfsBuilder | undefined;
}

export interface MkfsBuilder {
  readonly tool: MkfsTool;
  /** Kills it. */
  readonly signal: AbortSignal;
  /** Is told why a layer is built without it. */
  readonly onFallback: (reason: string) => void;
}

/** Reads the directory and brings its content into the packs, synced. */
export function buildFromDirectory(
  environment: BuildEnvironment,
  directory: string,
): Promise<BuiltLayer> {
  const { chunkBytes } = environment;
  return build(environment, ({ sink }) => readTree(directory, { sink, chunkBytes }));
}

/** Where a reader puts the content of files. */
export interface ContentPlace {
  readonly sink: ContentOptions["sink"];
}

/** Builds a layer of the tree that `read` makes while it brings the content to the sink. */
export async function build<Tree extends LayerTree>(
  environment: BuildEnvironment,
  read: (place: ContentPlace) => Promise<Tree>,
): Promise<BuiltLayer & Tree> {
  const { mkfs, paths, chunkBytes } = environment;
  if (mkfs === undefined) return buildInPacks(environment, read);
  using spool = new ContentSpool(paths, chunkBytes);
  const tree = await read({ sink: spool.sink });
  try {
    const { tool, signal } = mkfs;
    const image = await makeImage({ tool, tree, spool, folder: paths.images, signal });
    return { ...tree, table: new ChunkTable(undefined), restoredChunks: 0, image };
  } catch (error) {
    if (!(error instanceof MkfsError)) throw error;
    mkfs.onFallback(describeError(error));
    return await buildInPacks(environment, async ({ sink }) => {
      await moveContent(tree, spool, { sink, chunkBytes });
      return tree;
    });
  }
}

/** Ours: content in packs, the image holds metadata. */
async function buildInPacks<Tree extends LayerTree>(
  environment: BuildEnvironment,
  read: (place: ContentPlace) => Promise<Tree>,
): Promise<BuiltLayer & Tree> {
  const { database, paths, chunkBytes, codec, reserve } = environment;
  const table = new ChunkTable(codec?.algorithm);
  const writer = new PackWriter(paths);
  try {
    const options = { database, table, writer, reserve, chunkBytesMax: chunkBytes, codec };
    await using sink = new ChunkSink(options);
    const tree = await read({ sink });
    await sink.flush();
    writer.sync();
    return { ...tree, table, restoredChunks: sink.restoredChunks };
  } finally {
    writer.close();
  }
}

export function publish(environment: BuildEnvironment, layer: BuiltLayer): PublishedLayer {
  return publishLayer(environment.database, environment.paths, layer);
}

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
import type { ByteStore } from "../erofs/inode-table.ts";
import { ChunkSink } from "../store/chunk-sink.ts";
import { ChunkTable } from "../store/chunk-table.ts";
import type { BlockAddress } from "../store/layout.ts";
import { PackWriter } from "../store/pack-writer.ts";
import type { StorePaths } from "../store/paths.ts";
import { publishLayer, type BuiltLayer, type PublishedLayer } from "../store/publish.ts";
import { SpilledBytes } from "../store/spilled-bytes.ts";
import { readTree, type LayerTree } from "./directory-tree.ts";

export interface BuildEnvironment {
  readonly database: Database;
  readonly paths: StorePaths;
  readonly chunkBytes: number;
  /** How new content is compressed; undefined: not at all. */
  readonly codec?: ExtentCodec | undefined;
  readonly reserve: (count: number) => Promise<BlockAddress>;
}

/** Reads the directory and brings its content into the packs, synced. */
export function buildFromDirectory(
  environment: BuildEnvironment,
  directory: string,
): Promise<BuiltLayer> {
  const { chunkBytes } = environment;
  return build(environment, (place) => readTree(directory, { ...place, chunkBytes }));
}

/** Where a reader puts the content of files. */
export interface ContentPlace {
  readonly sink: ChunkSink;
  /** For what goes into the image. */
  readonly inline: ByteStore;
}

/** Builds a layer of the tree that `read` makes while it brings the content to the sink. */
export async function build<Tree extends LayerTree>(
  environment: BuildEnvironment,
  read: (place: ContentPlace) => Promise<Tree>,
): Promise<BuiltLayer & Tree> {
  const { database, paths, chunkBytes, codec, reserve } = environment;
  const table = new ChunkTable(codec?.algorithm);
  const writer = new PackWriter(paths);
  const inline = new SpilledBytes(paths.images);
  try {
    const options = { database, table, writer, reserve, chunkBytesMax: chunkBytes, codec };
    await using sink = new ChunkSink(options);
    const tree = await read({ sink, inline });
    await sink.flush();
    writer.sync();
    return { ...tree, table, inline, restoredChunks: sink.restoredChunks };
  } catch (error) {
    inline[Symbol.dispose]();
    throw error;
  } finally {
    writer.close();
  }
}

/** The layer is used up, whether it is published or not. */
export function publish(environment: BuildEnvironment, layer: BuiltLayer): PublishedLayer {
  using _ = layer.inline;
  return publishLayer(environment.database, environment.paths, layer);
}

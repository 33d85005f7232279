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
import { buildByMkfs, type BuiltContent, type MkfsBuilder } from "../mkfs/build.ts";
import { ChunkSink } from "../store/chunk-sink.ts";
import { ChunkTable } from "../store/chunk-table.ts";
import type { BlockAddress } from "../store/layout.ts";
import { PackWriter } from "../store/pack-writer.ts";
import type { StorePaths } from "../store/paths.ts";
import { publishLayer, type BuiltLayer, type PublishedLayer } from "../store/publish.ts";
import { SpilledBytes } from "../store/spilled-bytes.ts";
import { readTree, type LayerTree } from "./directory-tree.ts";
import type { ContentOptions } from "./file-content.ts";

export interface BuildEnvironment {
  readonly database: Database;
  readonly paths: StorePaths;
  readonly chunkBytes: number;
  /** How new content is compressed; undefined: not at all. */
  readonly codec?: ExtentCodec | undefined;
  /** Raw content that was stored under another setting is tried again. */
  readonly recompresses?: boolean;
  readonly reserve: (count: number) => Promise<BlockAddress>;
  /** Has mkfs.erofs write the images; undefined: we do. */
  readonly mkfs?: MkfsBuilder | undefined;
}

/** Reads the directory and brings its content to where it will lie, synced. */
export function buildFromDirectory(
  environment: BuildEnvironment,
  directory: string,
): Promise<BuiltLayer> {
  const { chunkBytes } = environment;
  return build(environment, (place) => readTree(directory, { ...place, chunkBytes }));
}

/** Where a reader puts the content of files. */
export interface ContentPlace {
  readonly sink: ContentOptions["sink"];
  /** For what goes into the image. */
  readonly inline: ByteStore;
}

/** The same where content goes to the packs in any case. */
export interface PackPlace extends ContentPlace {
  readonly sink: ChunkSink;
}

/** Builds a layer of the tree that `read` makes while it brings the content to the sink. */
export function build<Tree extends LayerTree>(
  environment: BuildEnvironment,
  read: (place: ContentPlace) => Promise<Tree>,
): Promise<BuiltLayer & Tree> {
  const { mkfs, paths, chunkBytes } = environment;
  if (mkfs === undefined) return buildInPacks(environment, read);
  return withInline(paths, (inline) =>
    buildByMkfs(mkfs, {
      paths,
      chunkBytes,
      read: (sink) => read({ sink, inline }),
      buildOtherwise: (readAgain) => fillPacks(environment, readAgain),
    }),
  );
}

/** The same, though never by mkfs.erofs: the image holds metadata, the packs hold content. */
export function buildInPacks<Tree extends LayerTree>(
  environment: BuildEnvironment,
  read: (place: PackPlace) => Promise<Tree>,
): Promise<BuiltLayer & Tree> {
  return withInline(environment.paths, (inline) =>
    fillPacks(environment, (sink) => read({ sink, inline })),
  );
}

/** What holds the content of small files goes with the layer, or with the failure. */
async function withInline<Tree extends LayerTree>(
  { images }: StorePaths,
  task: (inline: SpilledBytes) => Promise<BuiltContent<Tree>>,
): Promise<BuiltLayer & Tree> {
  const inline = new SpilledBytes(images);
  try {
    return { ...(await task(inline)), inline };
  } catch (error) {
    inline[Symbol.dispose]();
    throw error;
  }
}

async function fillPacks<Tree extends LayerTree>(
  environment: BuildEnvironment,
  read: (sink: ChunkSink) => Promise<Tree>,
): Promise<BuiltContent<Tree>> {
  const { paths, chunkBytes: chunkBytesMax, codec } = environment;
  const table = new ChunkTable(codec?.algorithm);
  const writer = new PackWriter(paths);
  try {
    await using sink = new ChunkSink({ ...environment, table, writer, chunkBytesMax });
    const tree = await read(sink);
    await sink.flush();
    writer.sync();
    const { restoredChunks, lostBlocks, triedPlaces } = sink;
    return { ...tree, table, restoredChunks, lostBlocks, triedPlaces };
  } finally {
    writer.close();
  }
}

/** The layer is used up, whether it is published or not. */
export function publish(environment: BuildEnvironment, layer: BuiltLayer): PublishedLayer {
  using _ = layer.inline;
  return publishLayer(environment.database, environment.paths, layer);
}

/**
 * Builds a layer anew of its own image and content: the same tree, its content where new content
 * would lie. In a worker thread, as all building.
 *
 * Content that lies right is neither read nor written, only named again. What is stale or encoded
 * otherwise is read, checked against its hash and stored as new content is; where another layer has
 * brought the same content since, that is taken. So a chunk the packs have lost is mended as soon
 * as anybody pulls it again.
 *
 * @module
 */
import {
  isOfType,
  readOwnContent,
  readXattrs,
  symlinkTarget,
  walkImage,
  type ErofsImage,
  type ImageInode,
} from "../erofs/read.ts";
import { decodeDeviceNumber } from "../erofs/inode-record.ts";
import { FileTree } from "../erofs/file-tree.ts";
import type { InodeRef } from "../erofs/inode-table.ts";
import { holeChunk, type ChunkRef, type FileContent, type Inode } from "../erofs/tree.ts";
import { chunkUse, effectiveCodec } from "../store/chunk-sink.ts";
import { findLayer, imageIdentity, type ChunkRow } from "../store/index-database.ts";
import { contentIndex, openImageFile, PieceReader } from "../store/layer-files.ts";
import { blockBytes } from "../store/layout.ts";
import type { BuiltLayer } from "../store/publish.ts";
import { VerifiedContent } from "../store/verified-content.ts";
import { verifyImage } from "../store/verify-image.ts";
import { assert, defined } from "../util/assert.ts";
import { type ByteString } from "../util/byte-string.ts";
import { MiB } from "../util/bytes.ts";
import { noteRows } from "../util/garbage.ts";
import { buildInPacks, type BuildEnvironment, type PackPlace } from "./build.ts";
import type { LayerTree } from "./directory-tree.ts";
import { shapeOf, usesOf } from "./rewrite-shape.ts";
import { XattrLists } from "./xattr-lists.ts";

export interface RewriteRequest {
  readonly layerId: number;
  /** Raw content that was stored under another setting is tried again. */
  readonly recompresses: boolean;
}

/** Asked after about so many bytes were read or written; waits, or rejects to cancel. */
export type Pace = (bytes: number) => Promise<void>;

/** How much is done between two questions. */
const paceBytes = MiB;

export async function rewriteLayer(
  environment: BuildEnvironment,
  { layerId, recompresses }: RewriteRequest,
  pace: Pace,
): Promise<BuiltLayer> {
  const { database, paths, codec, chunkBytes } = environment;
  const layer = defined(findLayer(database, layerId), `layer ${layerId}`);
  const budget = new Budget(pace);
  const image = imageIdentity(paths, layer);
  // What is wrong in the old image would be right in the new one.
  verifyImage(image);
  using file = openImageFile(image.path);
  using content = new VerifiedContent(database, paths);
  const options = {
    ...environment,
    recompresses,
    codec: effectiveCodec(codec, chunkBytes),
    // The layer may have larger chunks than new ones are.
    chunkBytes: Math.max(chunkBytes, largestChunkOf(environment, layerId)),
    reserve: async (count: number) => {
      await budget.spend(count * blockBytes);
      return environment.reserve(count);
    },
  };
  const index = contentIndex(database);
  const entryBytes = layer.image_bytes / layer.inodes;
  return await buildInPacks(options, (place) =>
    new TreeRewriter({ ...place, image: file.image, index, content, budget, entryBytes }).read(),
  );
}

function largestChunkOf({ database }: BuildEnvironment, layerId: number): number {
  const row = database
    .query<{ bytes: number | null }, [number]>(
      `SELECT max(size_bytes) AS bytes FROM layer_chunks JOIN chunks USING (place)
       WHERE layer = ?`,
    )
    .get(layerId);
  return row?.bytes ?? 0;
}

/** Sums small amounts up, so that not each of them is a message to another thread. */
class Budget {
  readonly #pace: Pace;
  #bytes = 0;

  constructor(pace: Pace) {
    this.#pace = pace;
  }

  async spend(bytes: number): Promise<void> {
    this.#bytes += bytes;
    if (this.#bytes < paceBytes) return;
    const spent = this.#bytes;
    this.#bytes = 0;
    await this.#pace(spent);
  }
}

interface RewriterOptions extends PackPlace {
  readonly image: ErofsImage;
  readonly index: ReturnType<typeof contentIndex>;
  readonly content: VerifiedContent;
  readonly budget: Budget;
  /** What an entry costs to read and to write, on average. */
  readonly entryBytes: number;
}

class TreeRewriter {
  readonly #options: RewriterOptions;
  readonly #pieces: PieceReader;
  readonly #xattrs = new XattrLists();
  readonly #directories = new Map<string, InodeRef>();
  readonly #hardLinks = new Map<number, InodeRef>();
  readonly #tree: FileTree;
  #contentBytes = 0;

  constructor(options: RewriterOptions) {
    this.#options = options;
    this.#tree = new FileTree(options.inline);
    this.#pieces = new PieceReader(options.image, options.index);
  }

  async read(): Promise<LayerTree> {
    const { image, budget, entryBytes } = this.#options;
    for (const { path, inode } of walkImage(image)) {
      await budget.spend(2 * entryBytes);
      await this.#readEntry(path, inode);
      noteRows();
    }
    return { tree: this.#tree, contentBytes: this.#contentBytes };
  }

  async #readEntry(path: ByteString, record: ImageInode): Promise<void> {
    const linked = this.#hardLinks.get(record.nid);
    const inode = linked ?? this.#tree.add(await this.#readInode(path, record));
    if (isOfType(record, "directory")) this.#directories.set(path, inode);
    else if (record.linkCount > 1) this.#hardLinks.set(record.nid, inode);
    if (path === "/") return;
    const slash = path.lastIndexOf("/");
    const parent = this.#directories.get(slash === 0 ? "/" : path.slice(0, slash));
    const name = path.slice(slash + 1) as ByteString;
    this.#tree.link(defined(parent, "the directory of an entry"), name, inode);
  }

  async #readInode(path: ByteString, inode: ImageInode): Promise<Inode> {
    const { image } = this.#options;
    const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, sizeBytes } = inode;
    const xattrs = this.#xattrs.intern(readXattrs(image, inode));
    const common = { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs };
    if (isOfType(inode, "directory")) return { type: "directory", ...common };
    if (isOfType(inode, "symlink")) {
      return { type: "symlink", ...common, target: symlinkTarget(image, inode) };
    }
    if (isOfType(inode, "regular")) {
      return { type: "file", ...common, sizeBytes, content: await this.#contentOf(path, inode) };
    }
    const { major: deviceMajor, minor: deviceMinor } = decodeDeviceNumber(inode.union);
    return { type: "special", ...common, deviceMajor, deviceMinor };
  }

  async #contentOf(path: ByteString, inode: ImageInode): Promise<FileContent> {
    const { sizeBytes } = inode;
    const shape = shapeOf(this.#pieces.piecesOf(inode, path), sizeBytes);
    if (shape === "inline") return await this.#smallContentOf(inode);
    const { chunkSizeBytes } = shape;
    const count = Math.ceil(sizeBytes / chunkSizeBytes);
    const use = usesOf(shape, count);
    const chunks = new Int32Array(count).fill(holeChunk);
    for (const piece of this.#pieces.piecesOf(inode, path)) {
      if (piece.kind !== "chunk") continue;
      const index = piece.fileOffsetBytes / chunkSizeBytes;
      assert(Number.isInteger(index), "chunks are at multiples of their size");
      chunks[index] = await this.#store(piece.chunk, use);
      if (chunks[index] !== holeChunk) this.#contentBytes += piece.chunk.size_bytes;
    }
    const only = count === 1 ? defined(chunks[0], "the only chunk") : chunks;
    return { kind: "chunks", chunkSizeBytes, chunks: only };
  }

  /** Content that the image holds itself; some of that is a chunk where new content is bundled. */
  async #smallContentOf(inode: ImageInode): Promise<FileContent> {
    const { image, sink } = this.#options;
    const { sizeBytes } = inode;
    const bytes = readOwnContent(image, inode, 0, sizeBytes);
    this.#contentBytes += sizeBytes;
    if (sizeBytes <= sink.inlineBytesMax) return { kind: "inline", bytes };
    (await sink.space(sizeBytes)).set(bytes);
    const chunks = sink.put(sizeBytes, chunkUse.whole);
    return { kind: "chunks", chunkSizeBytes: blockBytes, chunks };
  }

  async #store(chunk: ChunkRow, use: ReturnType<typeof usesOf>): Promise<ChunkRef> {
    const { sink, content, budget } = this.#options;
    const kept = sink.keep(chunk, use);
    if (kept !== undefined) return kept;
    const { size_bytes: sizeBytes } = chunk;
    await budget.spend(sizeBytes);
    const space = await sink.space(sizeBytes);
    space.set(content.read(chunk));
    return sink.put(sizeBytes, use);
  }
}

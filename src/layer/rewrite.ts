/**
 * Builds a layer anew of its own image and content: the same tree, its content where new content
 * would lie. In a worker thread, as all building.
 *
 * Content that lies right is neither read nor written, only named again. What is stale or encoded
 * otherwise is read, checked against its hash and stored as new content is; where another layer has
 * brought the same content since, that is taken. So a chunk the packs have lost is mended as soon
 * as anybody pulls it again.
 *
 * A lazy layer becomes an ordinary one in the same way, once all of its content is there: files
 * that have any of it in the lazy pack are stored as if they came anew.
 *
 * @module
 */
import { AppError } from "../errors.ts";
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
import { contentIndex, type FilePiece, openImageFile, PieceReader } from "../store/layer-files.ts";
import { LazyContent } from "../store/lazy-content.ts";
import { lazyPackOfLayer } from "../store/lazy-layers.ts";
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
import { storeContent } from "./file-content.ts";
import { shapeOf, usesOf } from "./rewrite-shape.ts";
import { storedFile } from "./stored-file.ts";
import { XattrLists } from "./xattr-lists.ts";

export interface RewriteRequest {
  readonly layerId: number;
  /** Raw content that was stored under another setting is tried again. */
  readonly recompresses: boolean;
  /** The layer may be lazy: what is in its pack becomes content like any other. */
  readonly promotes?: boolean;
}

/** Asked after about so many bytes were read or written; waits, or rejects to cancel. */
export type Pace = (bytes: number) => Promise<void>;

/** How much is done between two questions. */
const paceBytes = MiB;

export async function rewriteLayer(
  environment: BuildEnvironment,
  { layerId, recompresses, promotes }: RewriteRequest,
  pace: Pace,
): Promise<BuiltLayer> {
  const { database, paths, codec, chunkBytes } = environment;
  const layer = defined(findLayer(database, layerId), `layer ${layerId}`);
  const lazyPack = lazyPackOfLayer(database, layerId)?.pack;
  if (lazyPack !== undefined && promotes !== true) {
    throw new AppError("failed_precondition", `Layer ${layerId} is lazy: content is missing`);
  }
  const budget = new Budget(pace);
  const image = imageIdentity(paths, layer);
  // What is wrong in the old image would be right in the new one.
  verifyImage(image);
  using file = openImageFile(image.path);
  using content = new VerifiedContent(database, paths);
  using lazy = lazyPack === undefined ? undefined : new LazyContent(paths, lazyPack);
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
    new TreeRewriter({
      ...place,
      image: file.image,
      index,
      content,
      lazy,
      newChunkBytes: chunkBytes,
      budget,
      entryBytes,
    }).read(),
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
  /** Undefined for an ordinary layer. */
  readonly lazy: LazyContent | undefined;
  /** How content is cut that is stored as if it came anew. */
  readonly newChunkBytes: number;
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
    const pieces = this.#lazyPiecesOf(path, inode);
    if (pieces !== undefined) return this.#storeAnew(pieces, sizeBytes);
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

  /** All pieces of a file that has any in the lazy pack. */
  #lazyPiecesOf(path: ByteString, inode: ImageInode): FilePiece[] | undefined {
    if (this.#options.lazy === undefined) return undefined;
    const pieces = [...this.#pieces.piecesOf(inode, path)];
    return pieces.some(({ kind }) => kind === "lazy") ? pieces : undefined;
  }

  async #storeAnew(pieces: readonly FilePiece[], sizeBytes: number): Promise<FileContent> {
    const { sink, budget, newChunkBytes: chunkBytes } = this.#options;
    const source = storedFile(pieces, this.#options, (bytes) => budget.spend(bytes));
    const { content, contentBytes } = await storeContent(source, sizeBytes, { sink, chunkBytes });
    this.#contentBytes += contentBytes;
    return content;
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

/**
 * Builds a layer of its table of contents: all of its metadata is in the image, content that the
 * node has is referenced where it lies, and the rest gets a place in a pack that is empty yet.
 *
 * The tree is the one that the layer's tar would make (tar-tree.ts), but for the files that are in
 * it for the sake of the format: the landmarks and the table itself. Containerd's differ, and so
 * `apply`, unpacks them like any other; stargz-snapshotter hides them where it mounts a layer
 * lazily (fs/layer/node.go), and so do we: `readLazyLayer` leaves them out.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import type { CompressionAlgorithm } from "../erofs/compression.ts";
import type { LazyEntry, LazyLayer } from "../lazy/model.ts";
import { readLazyLayer } from "../lazy/open.ts";
import { encodePieceMap, type PieceOrigin } from "../ondemand/piece-map.ts";
import type { LayerBase, LazyTable } from "../snapshot/contract.ts";
import { ChunkTable } from "../store/chunk-table.ts";
import { preferredAlgorithm } from "../store/known-content.ts";
import { writePieces } from "../store/lazy-pack.ts";
import {
  type BlockAddress,
  blockBytes,
  blocksFor,
  firstBlockOfPack,
  placeOf,
} from "../store/layout.ts";
import type { LazyBlob, LazyKey } from "../store/lazy-layers.ts";
import type { BuiltLayer, LazyPart } from "../store/publish.ts";
import { SpilledBytes } from "../store/spilled-bytes.ts";
import type { BuildEnvironment } from "./build.ts";
import { LazySource, type MissingContent, needsLower } from "./lazy-source.ts";
import { LowerDirectories } from "./lower-directories.ts";
import type { LowerTree } from "./tar-lower.ts";
import { buildEntryTree, type TarTree } from "./tar-tree.ts";

export interface LazyRequest extends LazyTable {
  /** The layers below give only the attributes of directories. */
  readonly base: LayerBase;
  /** Under which the layer is found again. */
  readonly key: LazyKey;
}

/** What there is of a lazy layer's content; each chunk once, zeros left out. */
export interface LazyFacts {
  /** Undefined where nothing is missing. */
  readonly packId: number | undefined;
  readonly missingBytes: number;
  readonly missingPieces: number;
  readonly knownBytes: number;
  readonly totalBytes: number;
  /** Up to where in the blob its author wants content first; 0 for nothing. */
  readonly prefetchEndBytes: number;
}

/** Makes an empty pack for so much content; returns its number. */
export type CreateLazyPack = (contentBytes: number) => Promise<number>;

/**
 * @throws AppError `data_loss` for a wrong table, `invalid_argument` for what containerd refuses in
 *   a tar, `unimplemented` beyond the limits, `failed_precondition` ("not lazy: …") for a
 *   layer that is right, but must be read as a whole
 */
export async function buildLazy(
  environment: BuildEnvironment,
  request: LazyRequest,
  createPack: CreateLazyPack,
): Promise<{ readonly layer: BuiltLayer; readonly facts: LazyFacts }> {
  const { database, paths, codec } = environment;
  const lazy = await readLazyLayer(request.claim, request.range, request.toc);
  const algorithm = codec?.algorithm ?? algorithmOf(database, lazy.entries);
  const table = new ChunkTable(algorithm);
  const source = new LazySource(lazy.entries, table, { database, algorithm });
  const inline = new SpilledBytes(paths.images);
  try {
    const { tree, contentBytes, ...facts } = await readTree(source, request.base, inline);
    const missing = source.layOut();
    const packId = missing.blocks === 0 ? undefined : await createPack(bytesOf(missing));
    const origin = originOf(request, lazy);
    const { prefetchEndBytes } = origin;
    if (packId !== undefined) {
      settle(table, missing, firstBlockOfPack(packId));
      const map = encodePieceMap(origin, missing.pieces, bytesOf(missing));
      writePieces(paths, packId, map);
    }
    const part = { blob: blobOf(request, facts), pack: packOf(packId, missing) };
    const layer = { tree, contentBytes, inline, table, lazy: part, ...nothingLost };
    return { layer, facts: { ...factsOf(table, packId, missing), prefetchEndBytes } };
  } catch (error) {
    inline[Symbol.dispose]();
    throw error;
  }
}

const nothingLost = {
  restoredChunks: 0,
  lostBlocks: new Set<number>(),
  triedPlaces: new Set<number>(),
} as const;

async function readTree(
  source: LazySource,
  { root, lower }: LayerBase,
  inline: SpilledBytes,
): Promise<TarTree> {
  if (lower === "unknown") return buildEntryTree(source, { root, lower: neededLower, inline });
  if (lower.length === 0) return buildEntryTree(source, { root, inline });
  using below = new LowerDirectories(lower);
  return await buildEntryTree(source, { root, lower: below, inline });
}

/** The layers below, where only the table is known. */
const neededLower: LowerTree = {
  find(): never {
    throw needsLower();
  },
};

/** Where nothing new is compressed, what is compressed already may still be referred to. */
function algorithmOf(
  database: Database,
  entries: readonly LazyEntry[],
): CompressionAlgorithm | undefined {
  const hashes = function* () {
    for (const { chunks } of entries) {
      for (const { source } of chunks) if (source !== undefined) yield source.sha256;
    }
  };
  return preferredAlgorithm(database, hashes());
}

function originOf(request: LazyRequest, { prefetch }: LazyLayer): PieceOrigin {
  const { claim, image, digest, sizeBytes: blobBytes } = request;
  const prefetchEndBytes = prefetch.kind === "range" ? prefetch.endBytes : 0;
  return { format: claim.format, image, digest, blobBytes, prefetchEndBytes };
}

function bytesOf({ blocks }: MissingContent): number {
  return blocks * blockBytes;
}

/** What is missing lies in the pack that begins at `first`, or will. */
function settle(table: ChunkTable, { places }: MissingContent, first: BlockAddress): void {
  for (const [ref, block] of places) {
    const blocks = blocksFor(table.sizeOf(ref));
    const place = placeOf(first + block);
    table.settle(ref, { place, encoding: 0, blocks, extents: null }, "lazy");
  }
}

/**
 * Undefined for a layer that the blob alone does not tell. Of a first layer, too, something may
 * depend on there being none below.
 */
function blobOf(
  { key, image, claim, base }: LazyRequest,
  { dependsOnLower, hasWhiteouts }: Pick<TarTree, "dependsOnLower" | "hasWhiteouts">,
): LazyBlob | undefined {
  if (dependsOnLower && base.lower.length > 0) return undefined;
  const place = hasWhiteouts || dependsOnLower ? key.place : "any";
  return { ...key, place, image, format: claim.format };
}

function packOf(packId: number | undefined, { pieces }: MissingContent): LazyPart["pack"] {
  if (packId === undefined) return undefined;
  let contentBlocks = 0;
  for (const { sizeBytes } of pieces) contentBlocks += blocksFor(sizeBytes);
  const complete = pieces.length === 0 ? 1 : 0;
  return { pack: packId, content_blocks: contentBlocks, complete };
}

function factsOf(
  table: ChunkTable,
  packId: number | undefined,
  { pieces }: MissingContent,
): Omit<LazyFacts, "prefetchEndBytes"> {
  let knownBytes = 0;
  for (const ref of table.indexed()) knownBytes += table.sizeOf(ref);
  const missingBytes = pieces.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const missingPieces = pieces.length;
  return { packId, missingBytes, missingPieces, knownBytes, totalBytes: knownBytes + missingBytes };
}

/**
 * Lazy layers in a store without a daemon, and a pack that is filled by hand.
 *
 * @module
 */
import { closeSync, openSync, writeSync } from "node:fs";
import type { ExtentCodec } from "../../../src/erofs/extent-codec.ts";
import { fileType } from "../../../src/erofs/tree.ts";
import { build } from "../../../src/layer/build.ts";
import { buildLazy, type LazyFacts } from "../../../src/layer/lazy-build.ts";
import type { LazyTable } from "../../../src/snapshot/contract.ts";
import { buildTarTree } from "../../../src/layer/tar-tree.ts";
import { unknownLower } from "../../../src/layer/tar-lower.ts";
import type { LazyKey } from "../../../src/store/lazy-layers.ts";
import { Presence } from "../../../src/ondemand/presence.ts";
import { openPieces } from "../../../src/store/lazy-pack.ts";
import { packPath } from "../../../src/store/paths.ts";
import type { BuiltLayer, PublishedLayer } from "../../../src/store/publish.ts";
import { defined } from "../../../src/util/assert.ts";
import type { TestStore } from "../store.ts";
import { pieces } from "../tar/raw-tar.ts";
import { type MemoryBlob, readPiece, tocOf } from "./lazy-blob.ts";

export type Place = LazyKey["place"];

const root = { mode: fileType.directory | 0o755, uid: 0, gid: 0 };
const image = "registry.example/some/image:1";

/** What the tests need to know of a blob, whoever has made it. */
export type PulledBlob = Pick<MemoryBlob, "bytes" | "digest" | "sizeBytes" | "annotations">;

export type LazyLayerFacts = LazyFacts & PublishedLayer;

export function keyOf({ digest, claim }: LazyTable, place: Place): LazyKey {
  const toc_digest = defined(claim.tocDigest, "the digest of the table");
  return { digest, toc_digest, root: "40755 0:0", place };
}

/** Builds a lazy layer and does not publish it. */
export function buildOf(
  store: TestStore,
  table: LazyTable,
  place: Place,
  codec?: ExtentCodec,
): Promise<{ readonly layer: BuiltLayer; readonly facts: LazyFacts }> {
  const key = keyOf(table, place);
  const base = { root, lower: place === "first" ? [] : ("unknown" as const) };
  const createPack = (contentBytes: number) => store.createLazyPack(contentBytes);
  return buildLazy(store.environment(codec), { ...table, base, key }, createPack);
}

export function tableOf(blob: PulledBlob): LazyTable {
  const { digest, sizeBytes, annotations } = blob;
  return { ...tocOf(blob.bytes, annotations), image, digest, sizeBytes };
}

export async function addLazy(
  store: TestStore,
  blob: PulledBlob,
  place: Place = "first",
  codec?: ExtentCodec,
): Promise<LazyLayerFacts> {
  return addTable(store, tableOf(blob), place, codec);
}

export async function addTable(
  store: TestStore,
  table: LazyTable,
  place: Place = "first",
  codec?: ExtentCodec,
): Promise<LazyLayerFacts> {
  const { layer, facts } = await buildOf(store, table, place, codec);
  return { ...facts, ...store.publish(layer) };
}

/** The layer that `apply` makes of the same tar. */
export async function addEager(
  store: TestStore,
  tar: Buffer,
  place: Place = "first",
  codec?: ExtentCodec,
): Promise<PublishedLayer> {
  const environment = store.environment(codec);
  const { chunkBytes } = environment;
  const lower = place === "first" ? undefined : unknownLower;
  return store.publish(
    await build(environment, (content) =>
      buildTarTree(pieces(tar), { ...content, chunkBytes, root, lower }),
    ),
  );
}

/** Notes what dedupd does when all content of a pack is on disk. */
export function noteWhole(store: Pick<TestStore, "paths">, packId: number): Promise<void> {
  const { length } = openPieces(store.paths, packId);
  const presence = Presence.open(packPath(store.paths, packId), length);
  for (let piece = 0; piece < length; piece++) presence.set(piece);
  return presence.writeSynced(presence.snapshot());
}

/** Brings the pieces of a lazy pack to where they belong, but for those that are to be left out. */
export function fillPack(
  store: Pick<TestStore, "paths">,
  packId: number,
  blob: Pick<MemoryBlob, "bytes">,
  isLeftOut: (piece: number) => boolean = () => false,
): void {
  const map = openPieces(store.paths, packId);
  const file = openSync(packPath(store.paths, packId), "r+");
  for (let index = 0; index < map.length; index++) {
    if (isLeftOut(index)) continue;
    const piece = map.at(index);
    const content = readPiece(blob.bytes, piece, piece.sizeBytes);
    writeSync(file, content, 0, content.length, piece.packOffsetBytes);
  }
  closeSync(file);
}

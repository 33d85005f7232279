/**
 * index.db: opening it, and what can be asked of it.
 *
 * Only worker threads write it, one at a time (`LayerStore` holds the lock); readers never wait
 * (WAL). It is a file of its own, apart from `snapshots.db`, because SQLite has one writer at a
 * time: a layer of a million chunks must not make Prepare wait. `synchronous=FULL`: a layer that
 * was published is on disk before a snapshot refers to it.
 *
 * @module
 */
import { Database } from "bun:sqlite";
import { type CompressionAlgorithm, compressionAlgorithm } from "../erofs/compression.ts";
import { AppError, describeError } from "../errors.ts";
import { selectIn } from "../util/sqlite.ts";
import {
  blockOfPlace,
  blocksOfPack,
  packOfBlock,
  placesOfPack,
  type BlockAddress,
  type ChunkPlace,
} from "./layout.ts";
import { imagePath, type StorePaths } from "./paths.ts";
import type { ImageIdentity } from "./verify-image.ts";
import { indexMigrations } from "./index-schema.ts";

/** Conversions wait this long for each other's transaction, which may insert a million rows. */
const busyTimeoutMs = 120_000;
const sha256Bytes = 32;

/** How a chunk or a bundle is stored: 0 as it is, or the EROFS number of the algorithm. */
export type Encoding = 0 | CompressionAlgorithm;

/** For people. */
export function encodingName(encoding: Encoding): string {
  const names = Object.entries(compressionAlgorithm);
  return names.find(([, number]) => number === encoding)?.[0] ?? "none";
}

/** Where and how a chunk is stored. */
export interface StoredChunk {
  readonly place: ChunkPlace;
  /** That of its bundle's making for a member, also where the bundle came to be stored as it is. */
  readonly encoding: Encoding;
  /** Of its own; 0 for a member of a bundle. */
  readonly blocks: number;
  /** Stored blocks of each extent; null for raw chunks and members. */
  readonly extents: Uint8Array | null;
}

export interface ChunkRow extends StoredChunk {
  readonly sha256: Uint8Array;
  readonly size_bytes: number;
  readonly uses: number;
  /** Of compression, when it was stored or last tried; tells raw content that may lie better. */
  readonly setting: Encoding;
  /** 1: to be stored anew, and found by no new content. */
  readonly stale: 0 | 1;
}

export interface BundleRow {
  readonly block: BlockAddress;
  readonly blocks: number;
  readonly size_bytes: number;
  readonly encoding: Encoding;
}

/** Who wrote an image; one of `mkfs` has no chunks, its content lies in itself. */
export type LayerBuilder = "native" | "mkfs";

export interface LayerRow {
  readonly id: number;
  readonly image_sha256: Uint8Array;
  readonly image_bytes: number;
  readonly inodes: number;
  readonly content_bytes: number;
  readonly chunk_uses: number;
  /** Pack numbers in the order of the image's device table, separated by commas. */
  readonly packs: string;
  readonly builder: LayerBuilder;
}

const remedy =
  "stop the daemon and run `dedup-snapshotter check`; without a backup of the file, move the " +
  "root folder away, restart and pull the images again";

function refuse(path: string, cause: unknown): AppError {
  const code = (cause as { code?: unknown } | null)?.code;
  if (typeof code === "string" && code.startsWith("SQLITE_BUSY")) {
    return new AppError("unavailable", `The index "${path}" is locked`, { cause });
  }
  return new AppError("data_loss", `Cannot use the index "${path}": ${describeError(cause)}`, {
    cause,
    remedy,
  });
}

/** Opens the index, makes it where it is missing; a damaged one is refused with `data_loss`. */
export function openIndex(path: string): Database {
  try {
    const database = new Database(path, { create: true, strict: true });
    // First: whatever comes next may have to wait for a writer.
    database.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    if (versionOf(database) === 0) {
      // Kept in the file. To set them again would wait for the write lock, and so for a publish.
      database.run("PRAGMA auto_vacuum = INCREMENTAL");
      database.run("PRAGMA journal_mode = WAL");
    }
    database.run("PRAGMA synchronous = FULL");
    database.run("PRAGMA foreign_keys = OFF");
    migrate(database);
    return database;
  } catch (error) {
    throw refuse(path, error);
  }
}

/** Brings an index of any version up to date; each step is whole or not done. */
function migrate(database: Database): void {
  const latest = indexMigrations.length;
  if (versionOf(database) === latest) return;
  database
    .transaction(() => {
      // Again, now that no other thread can be at it.
      const version = versionOf(database);
      if (version > latest) {
        const problem = `schema version ${version} found, at most ${latest} expected`;
        throw new AppError("failed_precondition", problem);
      }
      for (const sql of indexMigrations.slice(version)) database.run(sql);
      if (version === 0) {
        database.run("INSERT INTO meta (key, value) VALUES ('root_id', ?)", [crypto.randomUUID()]);
      }
      database.run(`PRAGMA user_version = ${latest}`);
    })
    .immediate();
}

function versionOf(database: Database): number {
  const row = database.query<{ user_version: number }, []>("PRAGMA user_version").get();
  return row?.user_version ?? 0;
}

/** Reads every page once; throws `data_loss` where SQLite finds damage. */
export function verifyIndex(database: Database, path: string): void {
  let found: string | undefined;
  try {
    found = database.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").get()?.quick_check;
  } catch (error) {
    throw refuse(path, error);
  }
  if (found !== "ok") throw refuse(path, found ?? "no answer from quick_check");
}

export function rootId(database: Database): string {
  const row = database
    .query<{ value: string }, []>("SELECT value FROM meta WHERE key = 'root_id'")
    .get();
  return row?.value ?? "";
}

/** The rows of those of the hashes (32 bytes each) that the node has and that are not stale. */
export function findChunks(
  database: Database,
  hashes: readonly Uint8Array[],
  visit: (row: ChunkRow) => void,
): void {
  for (const hash of hashes) {
    if (hash.length !== sha256Bytes) throw new RangeError("a SHA-256 has 32 bytes");
  }
  selectIn<ChunkRow>(
    database,
    (list) => `SELECT * FROM chunks WHERE sha256 IN (${list}) AND stale = 0`,
    hashes,
    visit,
  );
}

export function findLayer(database: Database, id: number): LayerRow | undefined {
  return (
    database.query<LayerRow, [number]>("SELECT * FROM layers WHERE id = ?").get(id) ?? undefined
  );
}

export function findLayerByImage(database: Database, sha256: Uint8Array): LayerRow | undefined {
  const query = database.query<LayerRow, [Uint8Array<ArrayBuffer>]>(
    "SELECT * FROM layers WHERE image_sha256 = ?",
  );
  return query.get(sha256 as Uint8Array<ArrayBuffer>) ?? undefined;
}

export function allLayerIds(database: Database): number[] {
  const rows = database.query<{ id: number }, []>("SELECT id FROM layers ORDER BY id").all();
  return rows.map((row) => row.id);
}

/** The packs that hold at least one chunk, ascending; a seek for each pack, not a scan. */
export function usedPacks(database: Database): number[] {
  const packs: number[] = [];
  const next = database.query<{ place: number }, [number]>(
    "SELECT place FROM chunks WHERE place >= ? ORDER BY place LIMIT 1",
  );
  let from = 0;
  for (;;) {
    const row = next.get(from);
    if (row === null) return packs;
    const pack = packOfBlock(blockOfPlace(row.place));
    packs.push(pack);
    from = placesOfPack(pack)[1];
  }
}

/** The block behind the last content of the pack; undefined for an empty one. */
export function endOfPack(database: Database, packId: number): BlockAddress | undefined {
  const { block, count } = blocksOfPack(packId);
  const chunk = database
    .query<{ place: number; blocks: number }, [number, number]>(
      "SELECT place, blocks FROM chunks WHERE place >= ? AND place < ? ORDER BY place DESC LIMIT 1",
    )
    .get(...placesOfPack(packId));
  const bundle = database
    .query<BundleRow, [number, number]>(
      "SELECT * FROM bundles WHERE block >= ? AND block < ? ORDER BY block DESC LIMIT 1",
    )
    .get(block, block + count);
  const ends = [];
  if (chunk !== null) ends.push(blockOfPlace(chunk.place) + chunk.blocks);
  if (bundle !== null) ends.push(bundle.block + bundle.blocks);
  return ends.length === 0 ? undefined : Math.max(...ends);
}

/** The rows of those of the bundles that there are. */
export function findBundles(
  database: Database,
  blocks: readonly BlockAddress[],
  visit: (row: BundleRow) => void,
): void {
  selectIn<BundleRow>(
    database,
    (list) => `SELECT * FROM bundles WHERE block IN (${list})`,
    blocks,
    visit,
  );
}

export function imageIdentity(paths: StorePaths, layer: LayerRow): ImageIdentity {
  const path = imagePath(paths, layer.id);
  return { path, sizeBytes: layer.image_bytes, sha256: layer.image_sha256 };
}

export function packIdsOf(layer: LayerRow): number[] {
  return layer.packs === "" ? [] : layer.packs.split(",").map(Number);
}

/**
 * Layers made of tables of contents, and the packs that their missing content goes to.
 *
 * Such a layer is found by its table as well as by its blob. The digest of the blob says nothing of
 * the table: a registry may answer the range it lies in with any bytes, and only the manifest of an
 * image says which are right. So an image gets the layers of tables that its own manifest names,
 * and a lying image harms none but itself; also once all content is there, for its pieces were
 * compared with the table alone.
 *
 * The row of a pack dies with its layer; the row of a blob goes on to the layer that takes the
 * place of the first one when all content is there (layer/rewrite.ts).
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import type { LazyFormat } from "../lazy/model.ts";
import { realtimeNs } from "../../ffi/time.ts";
import { imageOfLayerIsThere, type BlobKey, type BlobPlace } from "./layer-blobs.ts";
import type { StorePaths } from "./paths.ts";

/** `fetching`: of its content some is missing, or not known to be on disk. */
export type LazyState = "fetching" | "complete";

/** The pack of a lazy layer. */
export interface LazyPackRow {
  readonly pack: number;
  readonly layer: number;
  /** Blocks of content, zeros left out. */
  readonly content_blocks: number;
  readonly complete: 0 | 1;
}

/** A blob together with its table of contents, and what else the layer depends on. */
export interface LazyKey extends BlobKey {
  /** As `ClaimedLayer.tocDigest`. */
  readonly toc_digest: string;
}

/** What a lazy layer was made of. */
export interface LazyBlob extends Omit<LazyKey, "place"> {
  /** `any` where it makes no difference. */
  readonly place: BlobPlace;
  /** As the user named it. */
  readonly image: string;
  readonly format: LazyFormat;
}

export interface LazyLayerRow extends LazyBlob {
  readonly layer: number;
  /** Undefined where all content lies in local packs: the layer is an ordinary one. */
  readonly pack: number | undefined;
  readonly state: LazyState;
  readonly inodes: number;
  readonly createdNs: number;
}

type FoundRow = LazyBlob & {
  readonly layer: number;
  readonly pack: number | null;
  readonly complete: 0 | 1 | null;
  readonly inodes: number;
  readonly created_ns: number;
};

const selectLayers = `
SELECT lazy_layers.*, lazy_packs.pack, lazy_packs.complete, layers.inodes
FROM lazy_layers JOIN layers ON layers.id = lazy_layers.layer
LEFT JOIN lazy_packs ON lazy_packs.layer = lazy_layers.layer`;

function rowOf({ complete, pack, created_ns: createdNs, ...row }: FoundRow): LazyLayerRow {
  const state = complete === 0 ? "fetching" : "complete";
  return { ...row, pack: pack ?? undefined, state, createdNs };
}

/**
 * The layer that was made of this table of contents of the blob. Undefined also where its image
 * file is gone, as for `findLayerBlob`.
 */
export function findLazyLayer(
  database: Database,
  paths: StorePaths,
  key: LazyKey,
): LazyLayerRow | undefined {
  const row = database
    .query<FoundRow, [string, string, string, string]>(
      `${selectLayers}
       WHERE digest = ? AND toc_digest = ? AND root = ? AND place IN ('any', ?)`,
    )
    .get(key.digest, key.toc_digest, key.root, key.place);
  if (row === null || !imageOfLayerIsThere(database, paths, row.layer)) return undefined;
  return rowOf(row);
}

/** All of them, oldest first; also those that are ordinary layers by now. */
export function listLazyLayers(database: Database): LazyLayerRow[] {
  return database.query<FoundRow, []>(`${selectLayers} ORDER BY created_ns`).all().map(rowOf);
}

/** All lazy packs that layers have, ascending. */
export function listLazyPacks(database: Database): LazyPackRow[] {
  return database.query<LazyPackRow, []>("SELECT * FROM lazy_packs ORDER BY pack").all();
}

/** The row of a pack; undefined where no layer has it. */
export function lazyLayerOfPack(database: Database, pack: number): LazyPackRow | undefined {
  const query = database.query<LazyPackRow, [number]>("SELECT * FROM lazy_packs WHERE pack = ?");
  return query.get(pack) ?? undefined;
}

/** The row of a layer's pack; undefined for an ordinary layer. */
export function lazyPackOfLayer(database: Database, layer: number): LazyPackRow | undefined {
  const query = database.query<LazyPackRow, [number]>("SELECT * FROM lazy_packs WHERE layer = ?");
  return query.get(layer) ?? undefined;
}

/** All content of the pack is there and on disk. The caller holds the lock of the store. */
export function markComplete(database: Database, pack: number): void {
  database.query("UPDATE lazy_packs SET complete = 1 WHERE pack = ?").run(pack);
}

/** As `enterLayerBlob`: the caller holds the lock of the store. */
export function enterLazyBlob(database: Database, blob: LazyBlob, layer: number): void {
  const { digest, toc_digest, root, place, image, format } = blob;
  database
    .query(
      `INSERT OR REPLACE INTO lazy_layers
         (digest, toc_digest, root, place, layer, image, format, created_ns)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    .run(digest, toc_digest, root, place, layer, image, format, realtimeNs());
}

/** The caller holds the lock of the store. */
export function enterLazyPack(database: Database, row: LazyPackRow): void {
  database
    .query("INSERT INTO lazy_packs (pack, layer, content_blocks, complete) VALUES (?, ?, ?, ?)")
    .run(row.pack, row.layer, row.content_blocks, row.complete);
}

/** Part of forgetting a layer; returns its pack, whose files can go then. */
export function forgetLazyLayer(database: Database, layer: number): number | undefined {
  database.query("DELETE FROM lazy_layers WHERE layer = ?").run(layer);
  const query = database.query<{ pack: number }, [number]>(
    "DELETE FROM lazy_packs WHERE layer = ? RETURNING pack",
  );
  return query.get(layer)?.pack;
}

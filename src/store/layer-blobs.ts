/**
 * Which blob a layer was made of.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { statSync } from "node:fs";
import { findLayer } from "./index-database.ts";
import { imagePath, type StorePaths } from "./paths.ts";

/** A blob together with what else its layer depends on. */
export interface BlobKey {
  readonly digest: string;
  /** The default attributes of the root directory, as text. */
  readonly root: string;
  /** Below it, a first layer has nothing that a whiteout could hide, and so keeps none. */
  readonly place: "first" | "upper";
}

export type BlobPlace = BlobKey["place"] | "any";

export interface BlobRow extends Omit<BlobKey, "place"> {
  /** `any` where it makes no difference. */
  readonly place: BlobPlace;
  readonly diff_id: string;
  readonly tar_bytes: number;
  readonly layer: number;
}

/** A layer that need not be built, because it was made of the same blob. */
export interface KnownLayer extends BlobRow {
  readonly inodes: number;
}

/**
 * The layer that was made of the blob. Undefined also where its image file is gone or has another
 * size: whoever then builds the blob again brings the file back (publish.ts). All bytes of it are
 * looked at when it is mounted.
 */
export function findLayerBlob(
  database: Database,
  paths: StorePaths,
  key: BlobKey,
): KnownLayer | undefined {
  const query = database.query<KnownLayer, [string, string, string]>(
    `SELECT layer_blobs.*, layers.inodes FROM layer_blobs JOIN layers ON layers.id = layer
     WHERE digest = ? AND root = ? AND place IN ('any', ?)`,
  );
  const row = query.get(key.digest, key.root, key.place);
  if (row === null || !imageOfLayerIsThere(database, paths, row.layer)) return undefined;
  return row;
}

/**
 * Whether any layer was made of the blob, or of this table of it, whatever it lies on.
 *
 * @param tocDigest undefined where the image names no table
 */
export function isBlobKnown(
  database: Database,
  digest: string,
  tocDigest: string | undefined,
): boolean {
  const query = database.query<{ known: number }, [string, string, string | null]>(
    `SELECT EXISTS (SELECT 1 FROM layer_blobs WHERE digest = ?)
       OR EXISTS (SELECT 1 FROM lazy_layers WHERE digest = ? AND toc_digest = ?) AS known`,
  );
  return query.get(digest, digest, tocDigest ?? null)?.known === 1;
}

/** Whether the image file is there in its size; its bytes are not looked at. */
export function imageOfLayerIsThere(
  database: Database,
  paths: StorePaths,
  layerId: number,
): boolean {
  const image = statSync(imagePath(paths, layerId), { throwIfNoEntry: false });
  return image !== undefined && image.size === findLayer(database, layerId)?.image_bytes;
}

/** The blobs of one layer are then those of another, which shows the same. */
export function moveLayerBlobs(database: Database, from: number, to: number): void {
  database
    .transaction(() => {
      database.query("UPDATE layer_blobs SET layer = ? WHERE layer = ?").run(to, from);
      database.query("UPDATE lazy_layers SET layer = ? WHERE layer = ?").run(to, from);
    })
    .immediate();
}

/** The caller holds the lock of the store. */
export function enterLayerBlob(database: Database, row: BlobRow): void {
  database
    .query(
      `INSERT OR REPLACE INTO layer_blobs (digest, root, place, diff_id, tar_bytes, layer)
       VALUES (?, ?, ?, ?, ?, ?)`,
    )
    .run(row.digest, row.root, row.place, row.diff_id, row.tar_bytes, row.layer);
}

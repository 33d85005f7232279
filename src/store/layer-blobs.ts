/**
 * Which blob a layer was made of.
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { statSync } from "node:fs";
import { imagePath, type StorePaths } from "./paths.ts";

/** A blob together with what else its layer depends on. */
export interface BlobKey {
  readonly digest: string;
  /** The default attributes of the root directory, as text. */
  readonly root: string;
  /** Below it, a first layer has nothing that a whiteout could hide, and so keeps none. */
  readonly place: "first" | "upper";
}

export interface BlobRow extends Omit<BlobKey, "place"> {
  /** `any` where it makes no difference. */
  readonly place: BlobKey["place"] | "any";
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
  const query = database.query<KnownLayer & { image_bytes: number }, [string, string, string]>(
    `SELECT layer_blobs.*, layers.inodes, layers.image_bytes
     FROM layer_blobs JOIN layers ON layers.id = layer
     WHERE digest = ? AND root = ? AND place IN ('any', ?)`,
  );
  const row = query.get(key.digest, key.root, key.place);
  if (row === null) return undefined;
  const { image_bytes: imageBytes, ...known } = row;
  const image = statSync(imagePath(paths, known.layer), { throwIfNoEntry: false });
  return image?.size === imageBytes ? known : undefined;
}

/** The blobs of one layer are then those of another, which is the same. */
export function moveLayerBlobs(database: Database, from: number, to: number): void {
  database.query("UPDATE layer_blobs SET layer = ? WHERE layer = ?").run(to, from);
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

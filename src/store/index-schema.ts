/**
 * The tables of index.db: which content the node has, where it lies, which layer uses it.
 *
 * `PRAGMA user_version` counts the migrations a database has had. A migration that was released is
 * never edited: a new one is added at the end.
 *
 * @module
 */

const initial = `
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A chunk of file content. Its address is its identity towards images (store/layout.ts), its
-- hash towards new content. A row exists only once the bytes are synced to the pack.
CREATE TABLE chunks (
  block INTEGER PRIMARY KEY,
  sha256 BLOB NOT NULL UNIQUE,
  size_bytes INTEGER NOT NULL,
  uses INTEGER NOT NULL
) STRICT;

-- A published image, images/<id>.erofs. Ids are never used again.
CREATE TABLE layers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  image_sha256 BLOB NOT NULL UNIQUE,
  image_bytes INTEGER NOT NULL,
  inodes INTEGER NOT NULL,
  content_bytes INTEGER NOT NULL,
  chunk_uses INTEGER NOT NULL,
  packs TEXT NOT NULL,
  created_ns INTEGER NOT NULL
) STRICT;

-- How often a layer uses a chunk.
CREATE TABLE layer_chunks (
  layer INTEGER NOT NULL REFERENCES layers (id),
  block INTEGER NOT NULL REFERENCES chunks (block),
  uses INTEGER NOT NULL,
  PRIMARY KEY (layer, block)
) STRICT, WITHOUT ROWID;
`;

/** Before, there were raw chunks only, named by their first block. */
const compressedContent = `
ALTER TABLE chunks RENAME TO raw_chunks;
ALTER TABLE layer_chunks RENAME TO layer_raw_chunks;

-- A chunk of file content. Its place is its identity towards images (store/layout.ts), its hash
-- towards new content. A row exists only once the bytes are synced to the pack. Content that lies
-- here compressed may lie here once more as it is, for readers that need it so.
--   encoding: 0 as it is, or the EROFS number of the algorithm (erofs/compression.ts)
--   blocks:   of its own; 0 for a member of a bundle
--   extents:  a byte for each extent, its stored blocks; NULL for raw chunks and members
CREATE TABLE chunks (
  place INTEGER PRIMARY KEY,
  sha256 BLOB NOT NULL,
  encoding INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  blocks INTEGER NOT NULL,
  extents BLOB,
  uses INTEGER NOT NULL,
  UNIQUE (sha256, encoding)
) STRICT;

-- Small chunks stored together; it lives as long as one of them. Encoding 0: stored as it is.
CREATE TABLE bundles (
  block INTEGER PRIMARY KEY,
  blocks INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  encoding INTEGER NOT NULL
) STRICT;

-- How often a layer uses a chunk.
CREATE TABLE layer_chunks (
  layer INTEGER NOT NULL REFERENCES layers (id),
  place INTEGER NOT NULL REFERENCES chunks (place),
  uses INTEGER NOT NULL,
  PRIMARY KEY (layer, place)
) STRICT, WITHOUT ROWID;

INSERT INTO chunks (place, sha256, encoding, size_bytes, blocks, extents, uses)
  SELECT block << 17, sha256, 0, size_bytes, (size_bytes + 4095) / 4096, NULL, uses FROM raw_chunks
  ORDER BY block;
INSERT INTO layer_chunks (layer, place, uses)
  SELECT layer, block << 17, uses FROM layer_raw_chunks ORDER BY layer, block;
DROP TABLE layer_raw_chunks;
DROP TABLE raw_chunks;
`;

const layerBlobs = `
-- Which blob a layer was made of, so that it is neither read nor built again. A layer may come from
-- several: one tar, compressed in different ways. Only of layers that say everything themselves: of
-- those that took something over from below, the blob alone does not tell the content.
CREATE TABLE layer_blobs (
  digest TEXT NOT NULL,
  -- Attributes the root directory had by default, for few layers have an entry for it.
  root TEXT NOT NULL,
  -- Where in the chain: a first layer has nothing that a whiteout could hide, and so keeps none.
  place TEXT NOT NULL CHECK (place IN ('first', 'upper', 'any')),
  diff_id TEXT NOT NULL,
  tar_bytes INTEGER NOT NULL,
  layer INTEGER NOT NULL REFERENCES layers (id),
  PRIMARY KEY (digest, root, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX layer_blobs_by_layer ON layer_blobs (layer);
`;

const staleContent = `
-- As before, and new:
--   setting: of compression, as \`encoding\`, when it was stored or last tried: what lies raw
--            by another setting may lie better
--   stale:   1 for what is to be stored anew: no new content finds it, layers that use it go on
-- The same content may lie here several times, but only once in each encoding where it is found.
CREATE TABLE new_chunks (
  place INTEGER PRIMARY KEY,
  sha256 BLOB NOT NULL,
  encoding INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  blocks INTEGER NOT NULL,
  extents BLOB,
  uses INTEGER NOT NULL,
  setting INTEGER NOT NULL DEFAULT 0,
  stale INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO new_chunks (place, sha256, encoding, size_bytes, blocks, extents, uses, setting)
  SELECT place, sha256, encoding, size_bytes, blocks, extents, uses, encoding FROM chunks
  ORDER BY place;
DROP TABLE chunks;
ALTER TABLE new_chunks RENAME TO chunks;
CREATE UNIQUE INDEX chunks_by_content ON chunks (sha256, encoding) WHERE stale = 0;
CREATE INDEX stale_chunks ON chunks (place) WHERE stale = 1;
`;

const layerBuilders = `
-- Who wrote the image: ours has its content in packs, that of mkfs.erofs all of it in itself.
ALTER TABLE layers ADD COLUMN builder TEXT NOT NULL DEFAULT 'native'
  CHECK (builder IN ('native', 'mkfs'));
`;

const lazyLayers = `
-- A pack of which one layer has all content. The chunks in it have no rows: it dies with the layer.
CREATE TABLE lazy_packs (
  pack INTEGER PRIMARY KEY,
  layer INTEGER NOT NULL UNIQUE REFERENCES layers (id),
  -- Blocks of content, zeros left out, and so what the file takes once all of it is there.
  content_blocks INTEGER NOT NULL,
  -- 1: all of it is there and on disk.
  complete INTEGER NOT NULL
) STRICT;

-- Layers made of the table of contents of a blob alone. The blob itself was never read, so its tar
-- is not known, as in layer_blobs; else as there.
CREATE TABLE lazy_layers (
  digest TEXT NOT NULL,
  root TEXT NOT NULL,
  place TEXT NOT NULL CHECK (place IN ('first', 'upper', 'any')),
  layer INTEGER NOT NULL REFERENCES layers (id),
  -- As the user named it, and which format the table has.
  image TEXT NOT NULL,
  format TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  PRIMARY KEY (digest, root, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX lazy_layers_by_layer ON lazy_layers (layer);
`;

const lazyTables = `
-- As before, and new: the digest of the table itself. Nothing but the manifest of an image ties a
-- table to a blob, so the blob alone does not say which tree the layer shows. What was made before
-- is found no more.
DROP TABLE lazy_layers;
CREATE TABLE lazy_layers (
  digest TEXT NOT NULL,
  toc_digest TEXT NOT NULL,
  root TEXT NOT NULL,
  place TEXT NOT NULL CHECK (place IN ('first', 'upper', 'any')),
  layer INTEGER NOT NULL REFERENCES layers (id),
  image TEXT NOT NULL,
  format TEXT NOT NULL,
  created_ns INTEGER NOT NULL,
  PRIMARY KEY (digest, toc_digest, root, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX lazy_layers_by_layer ON lazy_layers (layer);
`;

export const indexMigrations: readonly string[] = [
  initial,
  compressedContent,
  layerBlobs,
  staleContent,
  layerBuilders,
  lazyLayers,
  lazyTables,
];

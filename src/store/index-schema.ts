/** The tables of index.db: which content the node has, where it lies, which layer uses it. */
import type { Database } from "bun:sqlite";

export const schemaVersion = 2;

const contentTables = `

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
`;

const indexSchema = `

CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

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
${contentTables}`;

/** Version 1 knew raw chunks only, named by their first block. */
const migrationTo2 = `
ALTER TABLE chunks RENAME TO raw_chunks;
ALTER TABLE layer_chunks RENAME TO layer_raw_chunks;
${contentTables}
INSERT INTO chunks (place, sha256, encoding, size_bytes, blocks, extents, uses)
  SELECT block << 17, sha256, 0, size_bytes, (size_bytes + 4095) / 4096, NULL, uses FROM raw_chunks
  ORDER BY block;
INSERT INTO layer_chunks (layer, place, uses)
  SELECT layer, block << 17, uses FROM layer_raw_chunks ORDER BY layer, block;
DROP TABLE layer_raw_chunks;
DROP TABLE raw_chunks;
`;

export function createTables(database: Database): void {
  database.run(indexSchema);
  database.run("INSERT INTO meta (key, value) VALUES ('root_id', ?)", [crypto.randomUUID()]);
  database.run(`PRAGMA user_version = ${schemaVersion}`);
}

/** Brings tables of an earlier version up to this one, in one transaction. */
export function migrateTables(database: Database): void {
  database
    .transaction(() => {
      if (readVersion(database) !== 1) return;
      database.run(migrationTo2);
      database.run(`PRAGMA user_version = ${schemaVersion}`);
    })
    .immediate();
}

export function readVersion(database: Database): number | undefined {
  return database.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version;
}

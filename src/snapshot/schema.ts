/**
 * The tables of snapshots.db, as a list of migrations.
 *
 * `PRAGMA user_version` counts the migrations a database has had. A migration that was released is
 * never edited: a new one is added at the end.
 *
 * @module
 */

/** `PRAGMA application_id`, so that file(1) and we know the file: "DDSS". */
export const applicationId = 0x44_44_53_53;

const initial = `
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an id names a directory and a holder of mounts, so it is never given twice.
CREATE TABLE snapshots (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  parent_id INTEGER REFERENCES snapshots (id),
  kind TEXT NOT NULL CHECK (kind IN ('view', 'active', 'committed')),
  created_ns INTEGER NOT NULL,
  updated_ns INTEGER NOT NULL,
  -- JSON, a list of [key, value].
  labels TEXT NOT NULL,
  -- How a committed snapshot is kept: as an image, or as a directory and why.
  layer_id INTEGER,
  plain_reason TEXT,
  size_bytes INTEGER NOT NULL DEFAULT 0,
  inodes INTEGER NOT NULL DEFAULT 0,
  CHECK ((layer_id IS NOT NULL) + (plain_reason IS NOT NULL) = (kind = 'committed'))
) STRICT;

CREATE INDEX snapshots_by_parent ON snapshots (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX snapshots_by_layer ON snapshots (layer_id) WHERE layer_id IS NOT NULL;
`;

/** A layer that Apply built for an active snapshot; Commit makes it the snapshot's own. */
const appliedLayers = `
ALTER TABLE snapshots ADD COLUMN applied_layer_id INTEGER
  CHECK (applied_layer_id IS NULL OR kind = 'active');

CREATE INDEX snapshots_by_applied_layer ON snapshots (applied_layer_id)
  WHERE applied_layer_id IS NOT NULL;
`;

/** JSON: the blob that was applied to a snapshot without a parent, which it may get by Commit. */
const appliedBlobs = `
ALTER TABLE snapshots ADD COLUMN applied_blob TEXT
  CHECK (applied_blob IS NULL OR kind = 'active');
`;

/**
 * What was decided of layers that could be lazy, the last time: for people, so the oldest go when
 * there are too many. `layer_id` is what was made of it, if it was made without its blob.
 */
const claims = `
CREATE TABLE claims (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  image TEXT NOT NULL,
  digest TEXT NOT NULL,
  decision TEXT NOT NULL CHECK (decision IN ('lazy', 'present', 'not lazy')),
  reason TEXT NOT NULL,
  time_ns INTEGER NOT NULL,
  layer_id INTEGER,
  UNIQUE (image, digest)
) STRICT;

CREATE INDEX claims_by_layer ON claims (layer_id) WHERE layer_id IS NOT NULL;
`;

/**
 * The digest of the table of contents that a claimed layer was made of (contract.ts). Of those that
 * were claimed before it is not known, and so no image has named it.
 */
const claimedTables = `
ALTER TABLE snapshots ADD COLUMN toc_digest TEXT
  CHECK (toc_digest IS NULL OR kind = 'committed');

UPDATE snapshots SET toc_digest = 'unknown' WHERE kind = 'committed' AND name LIKE '%/claimed-%';
`;

export const migrations: readonly string[] = [
  initial,
  appliedLayers,
  appliedBlobs,
  claims,
  claimedTables,
];

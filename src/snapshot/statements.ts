/** The SQL of the snapshot database, prepared once. */
import type { Database } from "bun:sqlite";
import type { ChainRow, DecisionRow, SnapshotRow } from "./rows.ts";

// Types, not interfaces: only those pass for the records of values that bun:sqlite binds.
type Page = {
  readonly afterId: number;
  readonly limit: number;
};

type Insert = {
  readonly id: number;
  readonly name: string;
  readonly parentId: number | null;
  readonly kind: string;
  readonly nowNs: bigint;
  readonly labels: string;
};

type Claim = {
  readonly id: number;
  readonly name: string;
  readonly parentId: number | null;
  readonly nowNs: bigint;
  readonly labels: string;
  readonly layerId: number;
  readonly tocDigest: string | null;
  readonly sizeBytes: number;
  readonly inodes: number;
};

type Decision = {
  readonly image: string;
  readonly digest: string;
  readonly decision: string;
  readonly reason: string;
  readonly timeNs: bigint;
  readonly layerId: number | null;
};

type Apply = {
  readonly id: number;
  readonly layerId: number | null;
  readonly blob: string | null;
  readonly nowNs: bigint;
  readonly sizeBytes: number;
  readonly inodes: number;
};

type Commit = {
  readonly id: number;
  readonly name: string;
  readonly parentId: number | null;
  readonly nowNs: bigint;
  readonly labels: string;
  readonly layerId: number | null;
  readonly plainReason: string | null;
  readonly sizeBytes: number;
  readonly inodes: number;
};

const select = `
SELECT snapshots.*, parents.name AS parent_name
FROM snapshots LEFT JOIN snapshots AS parents ON parents.id = snapshots.parent_id`;

const pageEnd = "AND snapshots.id > $afterId ORDER BY snapshots.id LIMIT $limit";

/** The order of the recursion is the order of the chain: each step adds one row. */
const chain = `
WITH RECURSIVE chain (depth, id) AS (
  SELECT 0, $id
  UNION ALL
  SELECT depth + 1, parent_id FROM chain JOIN snapshots USING (id) WHERE parent_id IS NOT NULL
)
SELECT id, layer_id, plain_reason FROM chain JOIN snapshots USING (id) ORDER BY depth`;

const layerUsers = `
SELECT id, applied_layer_id AS layer_id FROM snapshots WHERE applied_layer_id IS NOT NULL
UNION
SELECT id, layer_id FROM (WITH RECURSIVE chain (user_id, id) AS (
  SELECT id, parent_id FROM snapshots WHERE kind <> 'committed' AND parent_id IS NOT NULL
  UNION ALL
  SELECT user_id, parent_id FROM chain JOIN snapshots USING (id) WHERE parent_id IS NOT NULL
)
SELECT user_id AS id, layer_id
FROM chain JOIN snapshots USING (id) WHERE layer_id IS NOT NULL)
ORDER BY layer_id, id`;

const layerReferences = `
SELECT coalesce(layer_id, applied_layer_id) AS layer_id, count(*) AS count
FROM snapshots WHERE layer_id IS NOT NULL OR applied_layer_id IS NOT NULL GROUP BY 1`;

const layerUser = `
SELECT id FROM snapshots WHERE layer_id = $layerId
UNION ALL
SELECT id FROM snapshots WHERE applied_layer_id = $layerId
LIMIT 1`;

const plainLayers = `
SELECT name, plain_reason AS reason
FROM snapshots WHERE plain_reason IS NOT NULL ORDER BY id`;

const insert = `
INSERT INTO snapshots (id, name, parent_id, kind, created_ns, updated_ns, labels)
VALUES ($id, $name, $parentId, $kind, $nowNs, $nowNs, $labels)`;

const claim = `
INSERT INTO snapshots
  (id, name, parent_id, kind, created_ns, updated_ns, labels, layer_id, toc_digest, size_bytes,
   inodes)
VALUES
  ($id, $name, $parentId, 'committed', $nowNs, $nowNs, $labels, $layerId, $tocDigest, $sizeBytes,
   $inodes)`;

/** The number is new also for what was decided before, so that the oldest have the lowest. */
const noteDecision = `
INSERT OR REPLACE INTO claims (image, digest, decision, reason, time_ns, layer_id)
VALUES ($image, $digest, $decision, $reason, $timeNs, $layerId)`;

const forgetDecisions = `
DELETE FROM claims
WHERE number <= (SELECT number FROM claims ORDER BY number DESC LIMIT 1 OFFSET $kept)`;

const decisions = `
SELECT image, digest, decision, reason, time_ns, layer_id FROM claims ORDER BY number`;

const apply = `
UPDATE snapshots SET applied_layer_id = $layerId, applied_blob = $blob, updated_ns = $nowNs,
  size_bytes = $sizeBytes, inodes = $inodes
WHERE id = $id AND kind = 'active'`;

const commit = `
UPDATE snapshots SET name = $name, parent_id = $parentId, kind = 'committed', labels = $labels,
  created_ns = $nowNs, updated_ns = $nowNs, layer_id = $layerId, plain_reason = $plainReason,
  applied_layer_id = NULL, applied_blob = NULL,
  size_bytes = $sizeBytes, inodes = $inodes
WHERE id = $id AND kind = 'active'`;

const moveLayer = `
UPDATE snapshots SET
  layer_id = CASE layer_id WHEN $from THEN $to ELSE layer_id END,
  applied_layer_id = CASE applied_layer_id WHEN $from THEN $to ELSE applied_layer_id END
WHERE layer_id = $from OR applied_layer_id = $from`;

const setValue = `
INSERT INTO meta (key, value) VALUES ($key, $value)
ON CONFLICT (key) DO UPDATE SET value = excluded.value`;

export type Statements = ReturnType<typeof prepareStatements>;

export function prepareStatements(database: Database) {
  // Named parameters in the types, so that a forgotten one is an error of the compiler.
  const one = <Row, Parameters extends Record<string, string | number | bigint | null>>(
    sql: string,
  ) => database.prepare<Row, [Parameters]>(sql);
  const none = <Row>(sql: string) => database.prepare<Row, []>(sql);
  return {
    find: one<SnapshotRow, { name: string }>(`${select} WHERE snapshots.name = $name`),
    findById: one<SnapshotRow, { id: number }>(`${select} WHERE snapshots.id = $id`),
    page: one<SnapshotRow, Page>(`${select} WHERE true ${pageEnd}`),
    pageOfName: one<SnapshotRow, Page & { name: string }>(
      `${select} WHERE snapshots.name = $name ${pageEnd}`,
    ),
    pageOfParent: one<SnapshotRow, Page & { parent: string }>(
      `${select} WHERE parents.name = $parent ${pageEnd}`,
    ),
    pageOfRoots: one<SnapshotRow, Page>(`${select} WHERE snapshots.parent_id IS NULL ${pageEnd}`),
    chain: one<ChainRow, { id: number }>(chain),
    committedChildren: one<SnapshotRow, { id: number }>(
      `${select} WHERE snapshots.parent_id = $id AND snapshots.kind = 'committed'`,
    ),
    committedRoots: none<SnapshotRow>(
      `${select} WHERE snapshots.parent_id IS NULL AND snapshots.kind = 'committed'`,
    ),
    child: one<{ id: bigint }, { id: number }>(
      "SELECT id FROM snapshots WHERE parent_id = $id LIMIT 1",
    ),
    insert: one<never, Insert>(insert),
    claim: one<never, Claim>(claim),
    noteDecision: one<never, Decision>(noteDecision),
    forgetDecisions: one<never, { kept: number }>(forgetDecisions),
    decisions: none<DecisionRow>(decisions),
    moveDecisions: one<never, { from: number; to: number }>(
      "UPDATE claims SET layer_id = $to WHERE layer_id = $from",
    ),
    apply: one<never, Apply>(apply),
    commit: one<never, Commit>(commit),
    moveLayer: one<never, { from: number; to: number }>(moveLayer),
    setLabels: one<never, { name: string; labels: string; nowNs: bigint }>(
      "UPDATE snapshots SET labels = $labels, updated_ns = $nowNs WHERE name = $name",
    ),
    remove: one<never, { id: number }>("DELETE FROM snapshots WHERE id = $id"),
    directoryIds: none<{ id: bigint }>("SELECT id FROM snapshots WHERE layer_id IS NULL"),
    layerUser: one<{ id: bigint }, { layerId: number }>(layerUser),
    layerReferences: none<{ layer_id: bigint; count: bigint }>(layerReferences),
    layerUsers: none<{ id: bigint; layer_id: bigint }>(layerUsers),
    plainLayers: none<{ name: string; reason: string }>(plainLayers),
    lastId: none<{ seq: bigint }>("SELECT seq FROM sqlite_sequence WHERE name = 'snapshots'"),
    value: one<{ value: string }, { key: string }>("SELECT value FROM meta WHERE key = $key"),
    setValue: one<never, { key: string; value: string }>(setValue),
  };
}

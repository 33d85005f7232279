/**
 * Keeps the write-ahead logs of SQLite databases short: they are bytes on the disk of the node, and
 * keep by themselves the size they once had.
 *
 * In two steps, so that nobody who writes has to wait for the disk: a passive checkpoint moves and
 * syncs everything without the lock of writers; truncating, which takes it, has nothing left to
 * move (sqlite.org/pragma.html#pragma_wal_checkpoint).
 *
 * @module
 */
import type { Database } from "bun:sqlite";
import { statSync } from "node:fs";

interface CheckpointRow {
  /** Frames in the log, and how many of them are in the database by now. */
  readonly log: number;
  readonly checkpointed: number;
}

/**
 * Moves the log into the database and gives its space back; the rest of it stays while somebody
 * reads or writes, for which it does not wait. Blocks for the disk: for a worker thread.
 */
export function truncateLog(database: Database): void {
  const before = database.query<{ timeout: number }, []>("PRAGMA busy_timeout").get();
  database.run("PRAGMA busy_timeout = 0");
  try {
    const moved = checkpoint(database, "PASSIVE");
    if (moved.checkpointed === moved.log) checkpoint(database, "TRUNCATE");
  } finally {
    database.run(`PRAGMA busy_timeout = ${before?.timeout ?? 0}`);
  }
}

function checkpoint(database: Database, mode: "PASSIVE" | "TRUNCATE"): CheckpointRow {
  const query = database.query<CheckpointRow, []>(`PRAGMA wal_checkpoint(${mode})`);
  return query.get() ?? { log: 0, checkpointed: 0 };
}

/** Whether the log of a database has that many bytes. */
export function hasLongLog(databasePath: string, sizeBytesMax: number): boolean {
  const log = statSync(`${databasePath}-wal`, { throwIfNoEntry: false });
  return log !== undefined && log.size >= sizeBytesMax;
}

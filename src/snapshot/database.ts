/**
 * snapshots.db: opening, migrating and checkpointing it.
 *
 * The event loop must not wait for the disk, so nothing here syncs when a transaction commits:
 * `synchronous=NORMAL` leaves that to `WalSync`, and `wal_autocheckpoint=0` leaves checkpoints to a
 * worker that calls `checkpoint`. Both rely on the write-ahead log staying one file as long as the
 * daemon's connection is open.
 *
 * Nobody may open snapshots.db itself but through SQLite: closing any descriptor of it would drop
 * SQLite's POSIX locks (sqlite.org/howtocorrupt.html, section 2.2).
 *
 * @module
 */
import { Database } from "bun:sqlite";
import { dirname } from "node:path";
import { AppError, describeError } from "../errors.ts";
import { KiB } from "../util/bytes.ts";
import { truncateLog } from "../util/database-log.ts";
import { syncFolder } from "../util/sync-folder.ts";
import { applicationId, migrations } from "./schema.ts";

/** A checkpoint may hold a lock for as long as it takes to start over the log. */
const busyTimeoutMs = 5000;
/** A longer log is moved to the database; what is left of one that starts over. */
export const logBytesMax = 64 * KiB;

const remedy =
  "restore the file from a backup; without one, stop the daemon, move the root folder away, " +
  "start again and pull the images again";

export interface OpenedDatabase {
  readonly database: Database;
  /** True where the file was not there, or was empty. */
  readonly isNew: boolean;
}

/**
 * Opens the database, makes it where it is missing, and reads every page of it once. Throws
 * `data_loss` for a damaged file, `failed_precondition` for one of another program or version.
 */
export function openDatabase(path: string): OpenedDatabase {
  let database: Database | undefined;
  try {
    database = new Database(path, { create: true, strict: true, safeIntegers: true });
    // First: even to look at the file may have to wait for another process.
    database.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    // Before any other statement, so that nothing is written to a file that is not ours.
    const isNew = identify(database);
    configure(database);
    verify(database);
    migrate(database);
    // The names of the database and its log must outlive a loss of power as their content does.
    syncFolder(dirname(path));
    return { database, isNew };
  } catch (error) {
    database?.close();
    if (error instanceof AppError && error.code === "failed_precondition") throw error;
    const problem = `Cannot use the snapshot database "${path}": ${describeError(error)}`;
    throw new AppError("data_loss", problem, { cause: error, remedy });
  }
}

function configure(database: Database): void {
  database.run("PRAGMA journal_mode = WAL");
  database.run("PRAGMA synchronous = NORMAL");
  database.run("PRAGMA wal_autocheckpoint = 0");
  database.run(`PRAGMA journal_size_limit = ${logBytesMax}`);
  database.run("PRAGMA foreign_keys = ON");
}

function pragmaNumber(database: Database, name: string): number {
  const row = database.query<Record<string, bigint>, []>(`PRAGMA ${name}`).get();
  return Number(row?.[name] ?? 0);
}

/** Whether the database is still empty; throws for one of another program or a newer version. */
function identify(database: Database): boolean {
  const tables = database.query<{ count: bigint }, []>("SELECT count(*) count FROM sqlite_schema");
  const isEmpty = tables.get()?.count === 0n;
  const version = pragmaNumber(database, "user_version");
  if (!isEmpty && pragmaNumber(database, "application_id") !== applicationId) {
    throw new AppError("failed_precondition", `"${database.filename}" is no snapshot database`);
  }
  if (version > migrations.length) {
    const known = migrations.length;
    const problem = `"${database.filename}" has version ${version}, not ${known} or less`;
    throw new AppError("failed_precondition", problem, {
      remedy: "run the version of dedup-snapshotter that wrote it, or a newer one",
    });
  }
  return isEmpty;
}

function verify(database: Database): void {
  const row = database.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").get();
  if (row?.quick_check !== "ok") throw new Error(row?.quick_check ?? "quick_check said nothing");
}

function migrate(database: Database): void {
  const version = pragmaNumber(database, "user_version");
  for (const [index, sql] of migrations.entries()) {
    if (index < version) continue;
    database.transaction(() => {
      database.run(sql);
      database.run(`PRAGMA application_id = ${applicationId}`);
      database.run(`PRAGMA user_version = ${index + 1}`);
    })();
  }
}

/** Moves the log into the database beside the daemon's connection; for a worker thread. */
export function checkpoint(path: string): void {
  using database = new Database(path, { readwrite: true, create: false, strict: true });
  truncateLog(database);
}

/** Failures of the disk, the database and of neighbours, as a client may see them. */
import { AppError, describeError, type ErrorCode } from "../errors.ts";

/** Error codes of node:fs and of SQLite that say more than "it failed". */
const codesByName: ReadonlyMap<unknown, ErrorCode> = new Map([
  ["ENOSPC", "resource_exhausted"],
  ["EDQUOT", "resource_exhausted"],
  ["EMFILE", "resource_exhausted"],
  ["ENFILE", "resource_exhausted"],
  ["SQLITE_FULL", "resource_exhausted"],
  ["EIO", "data_loss"],
  ["SQLITE_CORRUPT", "data_loss"],
  ["SQLITE_NOTADB", "data_loss"],
]);

/**
 * The classes a client draws no conclusion about its snapshots from. A missing file deep down is
 * not the `not_found` that makes containerd pull a layer again, and an existing one not the
 * `already_exists` that makes it skip one.
 */
const neutralCodes: ReadonlySet<ErrorCode> = new Set([
  "unavailable",
  "data_loss",
  "resource_exhausted",
  "cancelled",
  "internal",
]);

function codeOf(error: unknown): ErrorCode {
  if (error instanceof AppError) return neutralCodes.has(error.code) ? error.code : "internal";
  const name = error instanceof Error && "code" in error ? error.code : undefined;
  return codesByName.get(name) ?? "internal";
}

/** @param action what failed, as in `Cannot prepare snapshot "x"` */
export function operationFailure(action: string, error: unknown): AppError {
  const remedy = error instanceof AppError ? error.remedy : undefined;
  return new AppError(codeOf(error), action, {
    cause: error,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

export function isMissingFile(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

/** For the log, where a bigint or an Error would not print. */
export function reasonField(error: unknown): { readonly reason: string } {
  return { reason: describeError(error) };
}

/**
 * Files that say which content a container reads first (ondemand/trace/format.ts), as operators
 * keep them: often no more than a SHA-256 a line.
 *
 * Whoever reaches the admin API names the file, so only files below one folder are read, whatever
 * the name says and wherever symlinks lead.
 *
 * @module
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync } from "node:fs";
import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import { AppError, describeError } from "../errors.ts";
import { parseTrace } from "../ondemand/trace/format.ts";
import { MiB } from "../util/bytes.ts";

/** A million lines; a start reads some thousand chunks. */
const traceBytesMax = 64 * MiB;
const tracePiecesMax = 2 ** 20;

/**
 * @param folder `prefetch.trace_dir`
 * @param name of the file, absolute or relative to the folder
 * @returns hashes in hexadecimal, each once, in their order
 * @throws AppError `failed_precondition` without a folder, `permission_denied` for a file outside
 *   of it, `not_found`, and what `parseTrace` throws for what is no trace
 */
export function readTrace(folder: string | null, name: string): string[] {
  if (folder === null) {
    throw new AppError("failed_precondition", "No file may be named as a trace", {
      remedy: 'set "prefetch.trace_dir" to the folder that has the traces',
    });
  }
  const path = resolve(folder, name);
  if (!isBelow(path, resolve(folder))) throw refused(name);
  const entries = parseTrace(readBelow(path, folder, name), name, tracePiecesMax);
  return entries.map(({ sha256 }) => sha256);
}

function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}

function readBelow(path: string, folder: string, name: string): string {
  const file = openTrace(path, name);
  try {
    // Where the open file is, and not where its name leads at some other time.
    if (!isBelow(readlinkSync(`/proc/self/fd/${file}`), realpathSync(folder))) throw refused(name);
    const status = fstatSync(file);
    if (status.isFile() && status.size <= traceBytesMax) return readFileSync(file, "latin1");
    throw new AppError(
      "invalid_argument",
      `"${name}" is no file of at most ${traceBytesMax} bytes`,
    );
  } finally {
    closeSync(file);
  }
}

/** Without waiting for the other end of what may turn out to be a pipe. */
function openTrace(path: string, name: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const problem = `Cannot open the trace "${name}": ${describeError(error)}`;
    throw new AppError("not_found", problem, { cause: error });
  }
}

function refused(name: string): AppError {
  return new AppError("permission_denied", `"${name}" is not below prefetch.trace_dir`);
}

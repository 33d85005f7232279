/**
 * Scratch and cache folders.
 *
 * Scratch lies on a disk file system (layers need trusted xattrs, device nodes and O_DIRECT) and in
 * a short path (a socket path has 107 bytes at most). The cache survives runs and holds only what
 * can be made again.
 *
 * @module
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

const scratchVariable = "DEDUP_SCRATCH";

/** The folder of this run, which is audited and removed at its end; undefined outside of one. */
export function runFolder(): string | undefined {
  return process.env[scratchVariable];
}

/** The folder below which all scratch folders lie. */
export function scratchBase(): string {
  return runFolder() ?? "/var/tmp";
}

/** Makes a new base for scratch folders, for this process and its children. */
export function makeScratchBase(): string {
  const base = mkdtempSync("/var/tmp/dedup-");
  process.env[scratchVariable] = base;
  process.env["TMPDIR"] = base;
  return base;
}

export interface ScratchFolder extends Disposable {
  readonly path: string;
}

/** A folder that is removed with its content at the end of the `using` scope. */
export function scratchFolder(name: string): ScratchFolder {
  const path = mkdtempSync(join(scratchBase(), `${name}-`));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A folder of the download cache, made if it is not there. */
export function cacheFolder(...parts: readonly string[]): string {
  const base = process.env["DEDUP_CACHE"] ?? "/var/cache/dedup-snapshotter";
  const path = join(base, ...parts);
  if (!existsSync(path)) mkdirSync(path, { recursive: true });
  return path;
}

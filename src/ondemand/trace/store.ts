/**
 * The folder of traces: a file for each image, replaced as a whole.
 *
 * @module
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AppError, describeError } from "../../errors.ts";
import { toHex } from "../../util/bytes.ts";
import type { Logger } from "../../util/logger.ts";
import { formatTrace, parseTrace, traceBytesMax, type TraceEntry } from "./format.ts";

const suffix = ".trace";
/** File names end at 255 bytes; so much of the name of an image is kept for people. */
const nameBytesMax = 200;
const shortNameBytes = 120;
/** Images come and go, and their traces stay: the ones written last are kept. */
const tracesMax = 500;

/**
 * The name of the file of an image: no name of an image leads out of the folder, and no two have
 * the same file.
 */
export function traceFileName(image: string): string {
  // What is left of a name has no slash, and is no ".." with the suffix behind it.
  const name = encodeURIComponent(image.toWellFormed());
  if (name.length <= nameBytesMax) return `${name}${suffix}`;
  const hash = toHex(Bun.SHA256.hash(image) as Uint8Array);
  return `${name.slice(0, shortNameBytes)}-${hash}${suffix}`;
}

interface LastRead {
  readonly path: string;
  readonly timeMs: number;
  readonly sizeBytes: number;
  readonly inode: number;
  readonly entries: readonly TraceEntry[];
}

export class TraceStore {
  readonly #folder: string;
  readonly #log: Logger;
  /** The layers of an image ask for the same trace, one after the other. */
  #last: LastRead | undefined;

  constructor(folder: string, log: Logger) {
    this.#folder = folder;
    this.#log = log;
  }

  /** Empty where there is none; one that is damaged is as good as none. */
  read(image: string): readonly TraceEntry[] {
    return this.readFile(traceFileName(image));
  }

  /** As `read`, by the name of a file. */
  readFile(name: string): readonly TraceEntry[] {
    const path = join(this.#folder, name);
    try {
      const status = statSync(path, { throwIfNoEntry: false });
      if (status === undefined) return [];
      const { mtimeMs: timeMs, size: sizeBytes, ino: inode } = status;
      const known = { path, timeMs, sizeBytes, inode };
      if (isSame(this.#last, known)) return this.#last.entries;
      if (status.isFile() && sizeBytes <= traceBytesMax) {
        const entries = parseTrace(readFileSync(path, "latin1"), path);
        this.#last = { ...known, entries };
        return entries;
      }
      throw new AppError("resource_exhausted", `"${path}" is no file of ${traceBytesMax} bytes`);
    } catch (error) {
      this.#log.warn({ path, reason: describeError(error) }, "a trace cannot be read");
      return [];
    }
  }

  /** All or nothing, also when the machine stops in between. Throws the system's error. */
  write(image: string, entries: readonly TraceEntry[]): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const path = join(this.#folder, traceFileName(image));
    const temporary = `${path}.new`;
    const file = openSync(temporary, "w", 0o600);
    try {
      writeFileSync(file, formatTrace(entries));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    for (const name of this.names().slice(tracesMax)) rmSync(join(this.#folder, name));
  }

  /** Names of files, the one that was written last first. */
  names(): string[] {
    let names: string[];
    try {
      names = readdirSync(this.#folder).filter((name) => name.endsWith(suffix));
    } catch {
      return [];
    }
    const timeOf = (name: string) =>
      statSync(join(this.#folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0;
    const dated = names.map((name) => ({ name, timeMs: timeOf(name) }));
    return dated.sort((left, right) => right.timeMs - left.timeMs).map(({ name }) => name);
  }
}

function isSame(last: LastRead | undefined, now: Omit<LastRead, "entries">): last is LastRead {
  return (
    last !== undefined &&
    last.path === now.path &&
    last.timeMs === now.timeMs &&
    last.sizeBytes === now.sizeBytes &&
    last.inode === now.inode
  );
}

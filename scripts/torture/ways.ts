/**
 * The ways in which a file of a lazy layer is read, each to its last byte. Run in the process of a
 * reader (reading.ts), which may block.
 *
 * @module
 */
import { appendFileSync, closeSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { mountOverlay, unmount } from "../../ffi/mount.ts";
import { dropPages } from "../../ffi/page-cache.ts";
import { alignUp } from "../../src/util/bytes.ts";
import { sha256Digest } from "../../src/util/digest.ts";
import { readAndCompare } from "../../test/support/ondemand/reader.ts";

export interface ReadTask {
  /** Where the layer is mounted. */
  readonly mountPoint: string;
  readonly name: string;
  /** Of the pack, as a backend exposes it. */
  readonly packPath: string;
  /** In the pack. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** A file with the bytes that must come. */
  readonly expected: string;
  /** A folder of this reader's own. */
  readonly scratch: string;
  readonly seed: string;
}

const blockBytes = 4096;

/** A file of each layer: the machine's sha256sum. */
export const programName = "program";

/** Each throws for an error, and says whether all bytes were right. */
const readers = {
  inOrder: (task) => compareReads(task, "inOrder"),
  atRandom: (task) => compareReads(task, "atRandom"),
  mapped: (task) => compareReads(task, "mapped"),
  dropped,
  direct,
  copied,
  executed,
  copiedUp,
} as const satisfies Record<string, (task: ReadTask) => boolean>;

export type Way = keyof typeof readers;

export const ways = Object.keys(readers) as readonly Way[];

/** Whether all bytes were right; throws where they do not come. */
export function readIn(way: Way, task: ReadTask): boolean {
  return readers[way](task);
}

function compareReads(task: ReadTask, way: "inOrder" | "atRandom" | "mapped"): boolean {
  const { expected, seed, sizeBytes } = task;
  const report = readAndCompare({ path: pathOf(task), expected, way, seed, failuresMax: 0 });
  return report.wrongReads === 0 && report.bytes === sizeBytes;
}

/** What was read is read again, without what the page cache has of it. */
function dropped(task: ReadTask): boolean {
  dropCached(pathOf(task));
  const isRight = compareReads(task, "inOrder");
  dropCached(pathOf(task));
  return isRight && compareReads(task, "atRandom");
}

export function dropCached(path: string): void {
  const file = openSync(path, "r");
  try {
    dropPages(file);
  } finally {
    closeSync(file);
  }
}

/** With O_DIRECT, which EROFS refuses for files of images that are files: so of the pack. */
function direct({ packPath, offsetBytes, sizeBytes, expected }: ReadTask): boolean {
  const blocks = [`skip=${offsetBytes}`, `count=${alignUp(sizeBytes, blockBytes)}`, "bs=1M"];
  const flags = ["iflag=direct,skip_bytes,count_bytes,fullblock", "status=none"];
  const read = run(["dd", `if=${packPath}`, ...blocks, ...flags]);
  return Buffer.compare(read.subarray(0, sizeBytes), readFileSync(expected)) === 0;
}

function copied(task: ReadTask): boolean {
  const copy = join(task.scratch, "copy");
  run(["cp", pathOf(task), copy]);
  const isRight = isSame(copy, task.expected);
  rmSync(copy);
  return isRight && Buffer.compare(run(["cat", pathOf(task)]), readFileSync(task.expected)) === 0;
}

/** By a program that is of the layer itself. */
function executed(task: ReadTask): boolean {
  const line = run([join(task.mountPoint, programName), pathOf(task)]).toString();
  return sha256Digest(readFileSync(task.expected)) === `sha256:${line.split(" ")[0]}`;
}

/** Written to through an overlay, which copies it as a whole. */
function copiedUp({ mountPoint, name, expected, scratch }: ReadTask): boolean {
  const [upper, work, target] = ["upper", "work", "merged"].map((each) => join(scratch, each));
  if (upper === undefined || work === undefined || target === undefined) return false;
  for (const folder of [upper, work, target]) mkdirSync(folder);
  mountOverlay({ lower: [mountPoint], upper, work, target });
  try {
    appendFileSync(join(target, name), "more");
    const wanted = Buffer.concat([readFileSync(expected), Buffer.from("more")]);
    return Buffer.compare(readFileSync(join(target, name)), wanted) === 0;
  } finally {
    unmount(target);
    for (const folder of [upper, work, target]) rmSync(folder, { recursive: true });
  }
}

function pathOf({ mountPoint, name }: ReadTask): string {
  return join(mountPoint, name);
}

function isSame(path: string, expected: string): boolean {
  return Buffer.compare(readFileSync(path), readFileSync(expected)) === 0;
}

function run(command: string[]): Buffer {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  if (exitCode === 0) return stdout;
  throw new Error(`${command.join(" ")} exited with ${exitCode}: ${stderr.toString()}`);
}

/**
 * Runs mkfs.erofs as a child of this thread, which goes on with its events meanwhile.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { KiB } from "../util/bytes.ts";

/** What is kept of its messages: the last ones tell why it failed. */
const messageBytesMax = 4 * KiB;
/** The flag that tells of it lies in shared memory and wakes nobody. */
const watchIntervalMs = 50;
/** As `strerror(ENOSPC)` and `strerror(EDQUOT)` say it; mkfs.erofs has one exit code for all. */
const fullDiskPattern = /No space left on device|Disk quota exceeded/;

export interface MkfsRun {
  readonly command: readonly string[];
  /** Where it keeps the content of a tar while it reads it. */
  readonly scratchFolder: string;
  /** Goes to its standard input. */
  readonly input?: Iterable<Uint8Array>;
  /** Whether anybody still waits for it; asked again and again, and true kills it. */
  readonly isCancelled: () => boolean;
}

/** mkfs.erofs ran and failed, though not for want of space: the layer may be built otherwise. */
export class MkfsError extends AppError {
  override readonly name = "MkfsError";

  constructor(message: string) {
    super("internal", message);
  }
}

/**
 * Resolves when the image is written; rejects with `cancelled` when nobody waits, with
 * `resource_exhausted` for a full disk, else with MkfsError, and with what `input` throws. The
 * child is gone then.
 */
export async function runMkfs(run: MkfsRun): Promise<void> {
  const { command, scratchFolder, input, isCancelled } = run;
  refuseCancelled(isCancelled);
  const child = Bun.spawn([...command], {
    stdin: input === undefined ? "ignore" : "pipe",
    stdout: "ignore",
    stderr: "pipe",
    cwd: "/",
    // Messages that can be told apart; times only from the files.
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TMPDIR: scratchFolder },
  });
  const watch = setInterval(() => {
    if (isCancelled()) child.kill("SIGKILL");
  }, watchIntervalMs);
  try {
    const messages = lastOf(child.stderr);
    if (input !== undefined && child.stdin !== undefined) {
      await feed(child.stdin, untilCancelled(input, isCancelled), child.exited);
    }
    const exitCode = await child.exited;
    refuseCancelled(isCancelled);
    if (exitCode === 0) return;
    const end = child.signalCode === null ? `exit code ${exitCode}` : `${child.signalCode}`;
    throw failureOf(command, end, await messages);
  } finally {
    clearInterval(watch);
    child.kill("SIGKILL");
    await child.exited;
  }
}

function refuseCancelled(isCancelled: () => boolean): void {
  if (isCancelled()) throw new AppError("cancelled", "Nobody waits for the image any more");
}

/** A thread that is busy writing gets to its timers late. */
function* untilCancelled(
  input: Iterable<Uint8Array>,
  isCancelled: () => boolean,
): Generator<Uint8Array, void> {
  for (const piece of input) {
    refuseCancelled(isCancelled);
    yield piece;
  }
}

/** Writes until there is no more, or the child has ended and nobody reads any more. */
async function feed(stdin: Bun.FileSink, input: Iterable<Uint8Array>, ended: Promise<unknown>) {
  let hasEnded = false;
  const end = ended.then(() => (hasEnded = true));
  try {
    for (const piece of input) {
      if (hasEnded) return;
      await Promise.race([writePiece(stdin, piece), end]);
    }
    await Promise.race([stdin.end(), end]);
  } catch (error) {
    // Why it stopped reading, its messages and exit code tell.
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}

/** Each of the two may be refused by a child that has closed its end. */
async function writePiece(stdin: Bun.FileSink, piece: Uint8Array): Promise<void> {
  await stdin.write(piece);
  await stdin.flush();
}

/** Reads to the end, and keeps that. */
async function lastOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  let kept = Buffer.alloc(0);
  for await (const piece of stream) {
    kept = Buffer.from(Buffer.concat([kept, piece]).subarray(-messageBytesMax));
  }
  return kept.toString("utf8").trim();
}

function failureOf(command: readonly string[], end: string, messages: string): AppError {
  const what = `${command[0]} ended with ${end}: ${messages}`;
  if (!fullDiskPattern.test(messages)) return new MkfsError(what);
  return new AppError("resource_exhausted", `Cannot write an image: no space left; ${what}`, {
    remedy: "remove images or enlarge the file system of the root",
  });
}

/**
 * Whether the kernel asks before it reads the pack of a mounted image: tried, not asked for.
 *
 * @module
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  rmdirSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fanotifyEventBytes } from "../../../ffi/fanotify.ts";
import { answerEvent, eventAt, openFanotify, readEvents } from "../../../ffi/fanotify.ts";
import { watchFile } from "../../../ffi/fanotify.ts";
import { close } from "../../../ffi/file.ts";
import { zeroed } from "../../../ffi/memory.ts";
import { Waiter } from "../../../ffi/wake.ts";
import { AppError } from "../../errors.ts";
import { type ProbeImage, writeProbeImage } from "../../mount/probe-image.ts";
import { realFunctions, withProbeFolder } from "../../mount/probe.ts";
import { defined } from "../../util/assert.ts";

/** The event comes with the read; later means never. */
const eventTimeoutMs = 2_000;

/**
 * Mounts an image whose pack is a hole, and fills the hole when the kernel asks. Leaves nothing.
 *
 * @param root on the file system of the packs
 * @throws AppError or SyscallError where this does not work
 */
export async function probeFanotify(root: string): Promise<void> {
  // `serve` has probes of its own in the root, at the same time.
  const folder = join(root, "dedupd");
  mkdirSync(folder, { recursive: true });
  await withProbeFolder(folder, realFunctions, (scratch) => probeIn(scratch));
  rmdirSync(folder);
}

async function probeIn(scratch: string): Promise<void> {
  const image = writeProbeImage(scratch);
  const path = defined(image.files.packs[0], "a pack");
  const pack = openSync(path, "r+");
  try {
    const { size } = statSync(path);
    truncateSync(path, 0);
    truncateSync(path, size);
    await readWatched(image, join(scratch, "mount"), path, pack);
  } finally {
    closeSync(pack);
  }
}

async function readWatched(
  { files, contents }: ProbeImage,
  target: string,
  path: string,
  pack: number,
): Promise<void> {
  const [name, content] = defined([...contents][0], "a file");
  const group = openFanotify();
  let reading: Promise<Uint8Array> | undefined;
  try {
    watchFile(group, path);
    realFunctions.mount(files, target, { method: "file", directIo: false });
    reading = readFile(join(target, name));
    reading.catch(() => undefined);
    answerNext(group, () => writeSync(pack, content, 0, content.length, 0));
  } finally {
    // Lets go on whoever still waits.
    close(group);
    await reading?.catch(() => undefined);
  }
  if (Buffer.compare(await reading, content) === 0) return;
  throw new AppError("unimplemented", "The kernel reads mounted packs without waiting");
}

/** Waits in this thread: the read is made by another one. */
function answerNext(group: number, fill: () => void): void {
  using waiter = new Waiter(group);
  waiter.wait(eventTimeoutMs);
  const buffer = zeroed(fanotifyEventBytes);
  const filled = readEvents(group, buffer);
  const event = filled === 0 ? undefined : eventAt(new DataView(buffer.buffer), 0);
  if (event === undefined)
    throw new AppError("unimplemented", "The kernel does not ask before it reads a mounted pack");
  fill();
  answerEvent(group, event.fd, 0);
  close(event.fd);
}

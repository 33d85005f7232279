/**
 * The fanotify group: adopted from whoever kept it, or new. And what an adopted one brings along:
 * files that are watched, and reads that nobody answered.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openFlag } from "../../../ffi/constants.ts";
import { close, open as openFile, tryLockExclusive } from "../../../ffi/file.ts";
import { openFanotify } from "../../../ffi/fanotify.ts";
import { AppError } from "../../errors.ts";
import { storePaths } from "../../store/paths.ts";
import type { Logger } from "../../util/logger.ts";
import type { ChannelKeeper } from "../contract.ts";
import { FanotifyJournal } from "./journal.ts";
import { probeFanotify } from "./probe.ts";
import { type RecordedSuspect, SuspectRecord } from "./suspect-record.ts";
import { watchAgain } from "./unwatched-packs.ts";

/** By which the keeper knows it. */
const channelName = "fanotify";

export interface FanotifyGroup {
  readonly fd: number;
  readonly journal: FanotifyJournal;
  readonly journalPath: string;
  /** Held as long as this process serves the group: two at once would answer for each other. */
  readonly lock: number;
  readonly isAdopted: boolean;
  /** Inodes of files that were watched before this process opened them. */
  readonly watched: ReadonlySet<number>;
  /** Packs that may have been read while nobody watched them, now or earlier. */
  readonly suspects: readonly RecordedSuspect[];
}

export interface GroupOptions {
  /** In whose folder `packs` the packs lie. */
  readonly root: string;
  readonly keeper: ChannelKeeper | undefined;
  /** Packs are mounted that were watched before: that the kernel does so needs no trial. */
  readonly isInUse?: boolean;
  readonly log: Logger;
}

/**
 * To be called before any pack is opened.
 *
 * @throws SyscallError where the kernel has none; AppError `unavailable` where another process
 *   serves it or the keeper does not answer
 */
export async function openGroup({
  root,
  keeper,
  isInUse = false,
  log,
}: GroupOptions): Promise<FanotifyGroup> {
  using opened = new DisposableStack();
  const journalPath = join(root, "fanotify.journal");
  const lock = openFile(journalPath, openFlag.readWrite | openFlag.create);
  opened.defer(() => close(lock));
  if (!tryLockExclusive(lock))
    throw new AppError("unavailable", `Another process has locked "${journalPath}"`);
  const adopted = await keeper?.adopt(channelName);
  if (adopted === undefined && !isInUse) await probeFanotify(root);
  const fd = adopted ?? openFanotify();
  opened.defer(() => close(fd));
  const journal = new FanotifyJournal(journalPath);
  const { packs } = storePaths(root);
  const { inodes: watched, open: unwatched } = watchAgain(fd, packs, watchedInodes(fd));
  const suspects = findSuspects(new SuspectRecord(root, log), unwatched);
  if (adopted === undefined) {
    // What an older group had to answer was answered by the kernel when that group ended.
    journal.clear();
    // Not earlier: whoever adopts it takes what it watches for watched all the time.
    await keeper?.keep(channelName, fd);
  }
  opened.move();
  return { fd, journal, journalPath, lock, isAdopted: adopted !== undefined, watched, suspects };
}

/** Those on record, and those found now, which are put there. */
function findSuspects(record: SuspectRecord, unwatched: readonly number[]): RecordedSuspect[] {
  const found = new Map(record.read().map((suspect) => [suspect.packId, suspect]));
  for (const packId of unwatched) {
    const { users = [] } = found.get(packId) ?? {};
    found.set(packId, { packId, mayBeCached: true, users });
  }
  const suspects = [...found.values()];
  if (unwatched.length > 0) record.write(suspects);
  return suspects;
}

/** As the kernel shows the marks of a group: proc_pid_fdinfo(5). */
export function watchedInodes(group: number): ReadonlySet<number> {
  const text = readFileSync(`/proc/self/fdinfo/${group}`, "latin1");
  const inodes = text.matchAll(/^fanotify ino:([0-9a-f]+) /gm);
  return new Set([...inodes].map(([, digits = ""]) => Number.parseInt(digits, 16)));
}

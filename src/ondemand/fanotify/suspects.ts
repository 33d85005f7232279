/**
 * Packs from which zeros may have been read, because no process of ours watched them.
 *
 * When the last descriptor of a fanotify group is closed, the kernel lets all reads go on: what was
 * not there is read as zeros, and stays in the page cache of the mounted image. So who starts
 * without a group to adopt first watches again what was exposed and is not complete, then drops
 * what is cached of the images. What is mapped cannot be dropped, which is tried again until
 * nothing is left. What a container has in its own memory, or has copied, is its operator's to
 * judge: its name is reported, until all that are named have ended.
 *
 * A process that takes over from another one learns of them by their record (suspect-record.ts).
 *
 * A reboot leaves nothing mounted, and so nothing suspect.
 *
 * @module
 */
import { describeError } from "../../errors.ts";
import type { Logger } from "../../util/logger.ts";
import type { SuspectPack } from "../contract.ts";
import { dropAllCaches, dropCachesOf, mountsOfPack } from "./image-caches.ts";
import { mountNamespaces, type MountUser, usersOfMounts } from "./mount-users.ts";
import { type RecordedSuspect, SuspectRecord } from "./suspect-record.ts";

/** Between attempts to drop what is mapped, and looks for who has ended. */
const retryMs = 5_000;

export interface SuspectsOptions {
  readonly root: string;
  readonly log: Logger;
  /** As in `BackendOptions`. */
  readonly report: (packId: number, message: string) => void;
}

interface Suspect extends RecordedSuspect {
  readonly mounts: readonly string[];
  readonly staleCachedPages: number;
}

export class Suspects {
  readonly #options: SuspectsOptions;
  readonly #record: SuspectRecord;
  readonly #suspects = new Map<number, Suspect>();
  #timer: Timer | undefined;

  constructor(options: SuspectsOptions) {
    this.#options = options;
    this.#record = new SuspectRecord(options.root, options.log);
  }

  /** Drops what is cached of the packs, and says who may have read it. They are watched by now. */
  add(found: readonly RecordedSuspect[]): void {
    for (const recorded of found) {
      const { packId } = recorded;
      const mounts = mountsOfPack(this.#options.root, packId);
      const suspect = this.#drop({ ...recorded, mounts, staleCachedPages: 0 });
      this.#suspects.set(packId, suspect);
      this.#options.report(packId, describeSuspect(suspect));
    }
    if (found.length > 0) this.#save();
    this.#checkLater();
  }

  /** The packs, until they are withdrawn or nobody is left who may have read zeros. */
  list(): SuspectPack[] {
    return [...this.#suspects.values()].map(({ packId, users, staleCachedPages }) => {
      return { packId, users, staleCachedPages };
    });
  }

  /** Nothing has it mounted any more. */
  remove(packId: number): void {
    if (this.#suspects.delete(packId)) this.#save();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  /** Tries again to drop what is mapped, and forgets those whose readers have all ended. */
  check(): void {
    const before = new Map(this.#suspects);
    for (const [packId, suspect] of before) this.#suspects.set(packId, this.#drop(suspect));
    // After that, which may have found readers.
    const namespaces = mountNamespaces();
    let hasChanged = false;
    for (const [packId, now] of this.#suspects) {
      const isOver = hasEnded(now, namespaces);
      hasChanged ||= now !== before.get(packId) || isOver;
      if (!isOver) continue;
      this.#suspects.delete(packId);
      this.#options.log.info({ packId }, "all who may have read zeros of a pack have ended");
    }
    if (hasChanged) this.#save();
  }

  #checkLater(): void {
    if (this.#suspects.size === 0) return;
    this.#timer = setTimeout(() => {
      this.check();
      this.#checkLater();
    }, retryMs);
    this.#timer.unref();
  }

  #save(): void {
    this.#record.write([...this.#suspects.values()]);
  }

  /** Whoever came before all was dropped may have read zeros, too. */
  #drop(suspect: Suspect): Suspect {
    const { packId, mounts, mayBeCached, users } = suspect;
    if (!mayBeCached) return suspect;
    try {
      if (mounts.length === 0) this.#dropAll();
      const staleCachedPages = sumOf(mounts.map(dropCachesOf));
      const all = merge(users, usersOfMounts(mounts));
      return { ...suspect, users: all, staleCachedPages, mayBeCached: staleCachedPages > 0 };
    } catch (error) {
      const reason = describeError(error);
      this.#options.log.error({ packId, reason }, "cannot drop what is cached of a suspect pack");
      return suspect;
    }
  }

  /** It is mounted where this process does not see it. */
  #dropAll(): void {
    try {
      dropAllCaches();
    } catch (error) {
      this.#options.log.error({ reason: describeError(error) }, "cannot drop the page cache");
    }
  }
}

/** Where no reader is known, there may be one all the same: then only its end is one. */
function hasEnded({ mayBeCached, users }: Suspect, namespaces: ReadonlySet<string>): boolean {
  if (mayBeCached || users.length === 0) return false;
  return !users.some(({ namespace }) => namespaces.has(namespace));
}

/** One for each mount namespace. */
function merge(known: readonly MountUser[], found: readonly MountUser[]): MountUser[] {
  const namespaces = new Set(known.map(({ namespace }) => namespace));
  return [...known, ...found.filter(({ namespace }) => !namespaces.has(namespace))];
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

function describeSuspect({ users, staleCachedPages }: SuspectPack): string {
  const names = users.map(({ pid, command, cgroup }) => `${command} (process ${pid}, ${cgroup})`);
  const readers = names.length === 0 ? "no container has it" : `restart ${names.join(", ")}`;
  const left = staleCachedPages === 0 ? "" : `; ${staleCachedPages} pages are mapped and stay`;
  return `Zeros may have been read while nobody watched; caches are dropped${left}; ${readers}`;
}

/**
 * Packs from which zeros may have been read, because no process of ours watched them.
 *
 * When the last descriptor of a fanotify group is closed, the kernel lets all reads go on: what was
 * not there is read as zeros, and stays in the page cache of the mounted image. So who starts
 * without a group to adopt first watches again what was exposed and is not complete, then drops
 * what is cached of the images. What is mapped cannot be dropped, which is tried again until
 * nothing is left. What a container has in its own memory, or has copied, is its operator's to
 * judge: its name is reported.
 *
 * A reboot leaves nothing mounted, and so nothing suspect.
 *
 * @module
 */
import { describeError } from "../../errors.ts";
import type { Logger } from "../../util/logger.ts";
import type { SuspectPack } from "../contract.ts";
import { dropAllCaches, dropCachesOf, mountsOfPack } from "./image-caches.ts";
import { usersOfMounts } from "./mount-users.ts";

/** Between attempts to drop what is mapped. */
const retryMs = 5_000;

export interface SuspectsOptions {
  readonly root: string;
  readonly log: Logger;
  /** As in `BackendOptions`. */
  readonly report: (packId: number, message: string) => void;
}

export class Suspects {
  readonly #options: SuspectsOptions;
  readonly #suspects = new Map<number, { mounts: readonly string[]; pack: SuspectPack }>();
  #timer: Timer | undefined;

  constructor(options: SuspectsOptions) {
    this.#options = options;
  }

  /** Drops what is cached of the packs, and says who may have read it. They are watched by now. */
  add(packIds: readonly number[]): void {
    for (const packId of packIds) {
      const mounts = mountsOfPack(this.#options.root, packId);
      if (mounts.length === 0) this.#dropAll();
      const staleCachedPages = sumOf(mounts.map(dropCachesOf));
      const pack = { packId, users: usersOfMounts(mounts), staleCachedPages };
      this.#suspects.set(packId, { mounts, pack });
      this.#options.report(packId, describeSuspect(pack));
    }
    this.#retryLater();
  }

  /** The packs, until they are withdrawn. */
  list(): SuspectPack[] {
    return [...this.#suspects.values()].map(({ pack }) => pack);
  }

  /** Nothing has it mounted any more. */
  remove(packId: number): void {
    this.#suspects.delete(packId);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #retryLater(): void {
    if (this.list().every(({ staleCachedPages }) => staleCachedPages === 0)) return;
    this.#timer = setTimeout(() => this.#retry(), retryMs);
    this.#timer.unref();
  }

  #retry(): void {
    for (const [packId, { mounts, pack }] of this.#suspects) {
      if (pack.staleCachedPages === 0) continue;
      const staleCachedPages = sumOf(mounts.map(dropCachesOf));
      this.#suspects.set(packId, { mounts, pack: { ...pack, staleCachedPages } });
    }
    this.#retryLater();
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

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

function describeSuspect({ users, staleCachedPages }: SuspectPack): string {
  const names = users.map(({ pid, command, cgroup }) => `${command} (process ${pid}, ${cgroup})`);
  const readers = names.length === 0 ? "no container has it" : `restart ${names.join(", ")}`;
  const left = staleCachedPages === 0 ? "" : `; ${staleCachedPages} pages are mapped and stay`;
  return `Zeros may have been read while nobody watched; caches are dropped${left}; ${readers}`;
}

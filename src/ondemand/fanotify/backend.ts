/**
 * The fanotify backend: the kernel reads packs itself, and asks before each read as long as a pack
 * is not complete (Linux 6.14). Only for images that are mounted from files: a loop device raises
 * no events.
 *
 * When the last descriptor of the group is closed, the kernel lets all readers go on, with zeros.
 * So the group is kept by another process (`ChannelKeeper`), and where that died as well, the
 * packs that may have been read meanwhile are suspect (suspect.ts).
 *
 * @module
 */
import { read } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { close } from "../../../ffi/file.ts";
import { unwatchFile, watchFile } from "../../../ffi/fanotify.ts";
import { inodeOf, statOf } from "../../../ffi/status.ts";
import { FanotifyReaders } from "../../fanotify-readers.ts";
import { AppError } from "../../errors.ts";
import type { BackendOptions } from "../backends.ts";
import type { LazyBackend, LazyPack, SuspectPack } from "../contract.ts";
import { PackTable } from "../fuse/pack-table.ts";
import type { PieceRead } from "../read-log.ts";
import { EventDescriptors, heldEventsMax } from "./descriptors.ts";
import type { PassedRead, PassedWindow } from "./event-reader.ts";
import { type FanotifyGroup, openGroup, watchedInodes } from "./group.ts";
import { HeldReads } from "./held-reads.ts";
import { journalThreadsMax } from "./journal.ts";
import { Suspects } from "./suspects.ts";
import { Watches } from "./watches.ts";
import { failpoint, hasFault } from "../../util/failpoint.ts";

const readFile = promisify(read);

/** Two answer several readers at once; more take memory and are not faster. */
const threadsMax = Math.min(2, journalThreadsMax);

/** As `OpenBackend`. To be called before any pack is opened. */
export async function openFanotifyBackend(options: BackendOptions): Promise<LazyBackend> {
  if (options.mountMethod === "loop") {
    throw new AppError("failed_precondition", "Loop devices read packs without asking", {
      remedy: 'set "mount.method" to "auto" or "lazy.backend" to "fuse"',
    });
  }
  const { root, keeper, log, inUse } = options;
  const group = await openGroup({ root, keeper, log, isInUse: inUse === "fanotify" });
  return new FanotifyBackend(options, group);
}

class FanotifyBackend implements LazyBackend {
  readonly name = "fanotify";
  readonly #options: BackendOptions;
  readonly #group: FanotifyGroup;
  readonly #descriptors: EventDescriptors;
  readonly #packs = new PackTable();
  readonly #watches = new Watches();
  readonly #held: HeldReads;
  readonly #suspects: Suspects;
  readonly #readers: FanotifyReaders;

  constructor(options: BackendOptions, group: FanotifyGroup) {
    this.#options = options;
    this.#group = group;
    const { fd, journal, journalPath, lock, watched } = group;
    const { demand, log, onCrash } = options;
    this.#descriptors = new EventDescriptors(lock, journalPath);
    const plug = lock;
    this.#held = new HeldReads({ group: fd, plug, journal, demand, log, watchedBefore: watched });
    this.#suspects = new Suspects({ root: options.root, log, report: options.reportSuspect });
    this.#suspects.add(group.suspects);
    this.#takeOver();
    this.#descriptors.occupyLow();
    const readers = Math.min(options.threads, threadsMax);
    this.#readers = new FanotifyReaders({
      group: fd,
      journalPath,
      packs: this.#packs.shared,
      watches: this.#watches.shared,
      plug,
      threads: readers,
      heldMax: Math.max(1, Math.floor(heldEventsMax() / readers)),
      pass: (message) => this.#receive(message),
      onCrash,
    });
  }

  /** Also of a pack that has all, until that is on disk: it may be lost before (`complete`). */
  async expose(pack: LazyPack): Promise<string> {
    const { packId, path, file } = pack;
    if (this.#packs.has(packId)) return path;
    const inode = inodeOf(file);
    await this.#watch(pack, inode);
    this.#held.exposed(inode, pack);
    return path;
  }

  async #watch(pack: LazyPack, inode: number): Promise<void> {
    const { packId, path, file } = pack;
    this.#packs.expose(pack, statOf(file).sizeBytes);
    this.#watches.add(packId, inode);
    try {
      // Asked now: a file that was deleted leaves its number to the next one, which is not watched.
      if (watchedInodes(this.#group.fd).has(inode)) await this.#silence(pack);
      else if (!hasFault("forget-mark")) watchFile(this.#group.fd, path);
    } catch (error) {
      // Still watched if it was: it may be mounted, and who reads it then waits, or gets an error.
      await this.#forget(packId);
      throw error;
    }
  }

  async #forget(packId: number): Promise<void> {
    this.#watches.remove(packId);
    await this.#packs.withdraw(packId);
  }

  /** Events that are on their way are still answered: the pack stays exposed. */
  complete({ packId, path }: LazyPack): Promise<void> {
    this.#packs.markComplete(packId);
    unwatchFile(this.#group.fd, path);
    return Promise.resolve();
  }

  async withdraw(packId: number): Promise<void> {
    this.#held.withdrawn(packId);
    this.#suspects.remove(packId);
    if (!this.#packs.has(packId)) return;
    unwatchFile(this.#group.fd, join(this.#options.root, "packs", `${packId}.pack`));
    await this.#forget(packId);
  }

  takeReads(): Iterable<PieceRead> {
    return this.#packs.reads.take();
  }

  suspects(): readonly SuspectPack[] {
    return this.#suspects.list();
  }

  async close(): Promise<void> {
    this.#suspects.close();
    await this.#readers.stop();
    this.#held.abandon();
    for (const packId of this.#packs.ids()) await this.#packs.withdraw(packId);
    this.#descriptors.release();
    close(this.#group.fd);
  }

  /** Before the first event is read, whose descriptor could have the number of an orphan. */
  #takeOver(): void {
    const { journal, isAdopted } = this.#group;
    if (!isAdopted) return;
    if (!journal.isContinued) this.#held.refuseAll();
    const orphans = hasFault("forget-orphans") ? [] : journal.takeOver();
    failpoint("takeover.orphans");
    for (const orphan of orphans) {
      if (this.#descriptors.reserve(orphan.fd)) void this.#held.hold(orphan);
      else this.#held.refuse(orphan);
    }
    const { length: reads } = orphans;
    this.#options.log.info({ reads }, "took over the fanotify group and the reads it waits for");
  }

  #receive(message: PassedRead | PassedWindow): void {
    if (message.kind === "read") void this.#held.hold(message);
    else this.#options.prefetchAhead?.(message);
  }

  /**
   * The file was opened while it was watched: what is written through it would raise events. So it
   * is replaced by the descriptor of an event that we cause ourselves.
   */
  async #silence({ packId, file }: LazyPack): Promise<void> {
    await this.#readers.ready;
    this.#watches.wantSilent(packId, file);
    try {
      await readFile(file, Buffer.alloc(1), 0, 1, 0);
    } finally {
      // Or another file that gets this number would be replaced.
      this.#watches.takeWanted(packId);
    }
  }
}

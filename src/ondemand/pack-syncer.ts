/**
 * Brings what was filled to the disk, every few seconds and when a pack is full: first the content,
 * then the word that it is there.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import { KeyedMutex } from "../util/keyed-mutex.ts";
import type { Logger } from "../util/logger.ts";
import { syncData } from "./fill/file-io.ts";
import type { FillablePack } from "./fillable-pack.ts";
import { failpoint } from "../util/failpoint.ts";

/** What a loss of power costs, at most, is fetched again. */
const intervalMs = 5_000;

export interface PackSyncerOptions {
  readonly log: Logger;
  /** All of the pack is there and on disk; called once for each time it is opened. */
  readonly onComplete: (pack: FillablePack) => Promise<void>;
  /** Content that came is missing again. */
  readonly onLost?: (pack: FillablePack) => void;
  /** Default: fdatasync(2). */
  readonly syncData?: (file: number) => Promise<void>;
}

export class PackSyncer {
  readonly #options: PackSyncerOptions;
  readonly #locks = new KeyedMutex();
  readonly #timers = new Map<FillablePack, Timer>();
  #isClosed = false;

  constructor(options: PackSyncerOptions) {
    this.#options = options;
  }

  /** To be called when something may have come. */
  note(pack: FillablePack): void {
    if (this.#isClosed || !needsSync(pack)) return;
    if (pack.isFull) {
      this.#stop(pack);
      void this.#syncSafely(pack);
    } else if (!this.#timers.has(pack)) {
      this.#timers.set(
        pack,
        setTimeout(() => {
          this.#timers.delete(pack);
          void this.#syncSafely(pack);
        }, intervalMs),
      );
    }
  }

  /** What came until now is on disk when it resolves. */
  async flush(pack: FillablePack): Promise<void> {
    this.#stop(pack);
    await this.#syncSafely(pack);
  }

  /**
   * What came until now is on disk when it resolves. What is still on its way is left to the next
   * process, which may be writing the same files by then.
   */
  async close(packs: Iterable<FillablePack>): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...packs].map((pack) => this.flush(pack)));
  }

  #stop(pack: FillablePack): void {
    clearTimeout(this.#timers.get(pack));
    this.#timers.delete(pack);
  }

  async #syncSafely(pack: FillablePack): Promise<void> {
    try {
      await this.#locks.run([pack.path], () => this.#sync(pack));
    } catch (error) {
      // A full or a broken disk: what is not synced is fetched again.
      const { packId } = pack;
      this.#options.log.warn({ packId, reason: describeError(error) }, "cannot sync a lazy pack");
      pack.isDirty = true;
      setTimeout(() => this.note(pack), intervalMs).unref();
    }
  }

  async #sync(pack: FillablePack): Promise<void> {
    if (!needsSync(pack)) return;
    const isFull = pack.isFull;
    using _open = pack.use();
    pack.isDirty = false;
    const bits = pack.presence.snapshot();
    await this.#syncContent(pack);
    // The next pack of that number would begin with what this one had.
    if (pack.isDeleted) return;
    await pack.presence.writeSynced(bits);
    pack.pieces.release();
    if (!isFull) return;
    pack.isSettled = true;
    failpoint("complete.before");
    await this.#options.onComplete(pack);
    failpoint("complete.after");
  }

  /**
   * The kernel tells of an error of writing once, and may have dropped the pages: to sync again
   * would succeed without them (fsync(2)).
   */
  async #syncContent(pack: FillablePack): Promise<void> {
    try {
      await (this.#options.syncData ?? syncData)(pack.file);
    } catch (error) {
      pack.forgetUnsynced();
      this.#options.onLost?.(pack);
      throw error;
    }
  }
}

function needsSync({ isClosed, isSettled, isDirty, isFull }: FillablePack): boolean {
  return !isClosed && !isSettled && (isDirty || isFull);
}

/**
 * Exposes packs and withdraws them: the files, the filler and the backend, in the right order.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { AppError, describeError } from "../errors.ts";
import { KeyedMutex } from "../util/keyed-mutex.ts";
import type { Logger } from "../util/logger.ts";
import type { LazyBackend, UnservedPack } from "./contract.ts";
import type { EventLog } from "./event-log.ts";
import type { Filler } from "./fill/filler.ts";
import type { FillablePack } from "./fillable-pack.ts";
import type { PackStore } from "./pack-store.ts";
import type { PackSyncer } from "./pack-syncer.ts";
import { failpoint } from "../util/failpoint.ts";

/** Before a pack is exposed again after that failed; doubled up to the limit. */
const retryDelayMs = 100;
const retryDelayMsMax = 5_000;

export interface ExposuresOptions {
  readonly store: PackStore;
  readonly filler: Filler;
  readonly syncer: PackSyncer;
  readonly events: EventLog;
  readonly log: Logger;
  /** @param isNew no process has exposed it before */
  readonly onExposed: (pack: FillablePack, isNew: boolean) => void;
  readonly onWithdrawn: (pack: FillablePack) => void;
}

export class Exposures {
  readonly #options: ExposuresOptions;
  readonly #locks = new KeyedMutex();
  readonly #paths = new Map<number, string>();
  /** Why they are not exposed again, though they were when the last process ended. */
  readonly #unserved = new Map<number, string>();
  readonly #stop = new AbortController();

  constructor(options: ExposuresOptions) {
    this.#options = options;
  }

  /** Exposes what was exposed when the last process ended: readers may wait already. */
  async exposeAll(backend: LazyBackend): Promise<void> {
    const exposed = this.#options.store.exposedBefore();
    await Promise.all(exposed.map((packId) => this.#exposeAgain(packId, backend)));
  }

  /** Tries until it succeeds, or the pack is gone. */
  async #exposeAgain(packId: number, backend: LazyBackend): Promise<void> {
    const { store, log } = this.#options;
    const { signal } = this.#stop;
    for (let delayMs = retryDelayMs; !signal.aborted && store.isLeft(packId);) {
      try {
        await this.expose(packId, backend);
        return;
      } catch (error) {
        const reason = describeError(error);
        const level = this.#unserved.get(packId) === reason ? "debug" : "error";
        this.#unserved.set(packId, reason);
        log[level]({ packId, reason }, "a lazy pack cannot be exposed again");
      }
      await sleep(delayMs, undefined, { signal, ref: false }).catch(() => undefined);
      delayMs = Math.min(2 * delayMs, retryDelayMsMax);
    }
    this.#unserved.delete(packId);
  }

  /** Packs that may be mounted and cannot be exposed again so far. */
  unserved(): UnservedPack[] {
    return [...this.#unserved].map(([packId, reason]) => ({ packId, reason }));
  }

  /** Ends all attempts. */
  close(): void {
    this.#stop.abort();
  }

  /** The path to mount; rejects with `not_found`, `data_loss`, or as the backend does. */
  expose(packId: number, backend: LazyBackend): Promise<string> {
    return this.#locks.run([String(packId)], async () => {
      // Whoever deleted it could not tell us: what is there now is another pack of that number.
      if (this.#options.store.get(packId)?.isDeleted === true) await this.#letGo(packId, backend);
      const known = this.#paths.get(packId);
      if (known !== undefined) return known;
      const pack = this.#open(packId);
      const isNew = !this.#options.store.isMarked(packId);
      this.#options.store.mark(packId, backend.name);
      failpoint("expose.marked");
      const path = await backend.expose(pack);
      this.#paths.set(packId, path);
      this.#unserved.delete(packId);
      this.#options.filler.open(packId);
      this.#options.onExposed(pack, isNew);
      if (pack.isSettled) await backend.complete(pack);
      this.#options.syncer.note(pack);
      return path;
    });
  }

  withdraw(packId: number, backend: LazyBackend): Promise<void> {
    // What the backend waits for, such as all content, would keep the lock.
    this.#options.filler.remove(packId);
    return this.#locks.run([String(packId)], async () => {
      await this.#letGo(packId, backend);
      this.#options.store.unmark(packId);
      this.#unserved.delete(packId);
    });
  }

  async #letGo(packId: number, backend: LazyBackend): Promise<void> {
    const { store, syncer, filler, onWithdrawn } = this.#options;
    const pack = store.get(packId);
    filler.remove(packId);
    if (pack !== undefined) {
      // First, so that a failure leaves nothing that seems to be exposed.
      this.#paths.delete(packId);
      await backend.withdraw(packId);
      failpoint("withdraw.marked");
      onWithdrawn(pack);
      await syncer.flush(pack);
    }
    await store.close(packId);
  }

  /** Whether a backend serves the pack; else it is told of its end when it is exposed. */
  isExposed(packId: number): boolean {
    return this.#paths.has(packId);
  }

  #open(packId: number): FillablePack {
    const { store, filler } = this.#options;
    try {
      const pack = store.open(packId);
      filler.add(pack);
      return pack;
    } catch (error) {
      // Once, however often it is tried.
      const isNew = !this.#unserved.has(packId);
      const isDamaged = error instanceof AppError && error.code === "data_loss";
      if (isDamaged && isNew) this.#noteDamage(packId, error);
      throw error;
    }
  }

  #noteDamage(packId: number, error: unknown): void {
    const message = describeError(error);
    this.#options.log.error({ packId, reason: message }, "a lazy pack is damaged");
    this.#options.events.add({ kind: "failed", packId, image: "", message });
  }
}

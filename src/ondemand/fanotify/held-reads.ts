/**
 * Reads of what is not there yet, and those a dead process of ours had taken. Each is answered
 * once: when the bytes are in the pack, or with an error when they cannot be had.
 *
 * @module
 */
import { answerEvent } from "../../../ffi/fanotify.ts";
import { errnoNumber } from "../../../ffi/errno.ts";
import { AppError, describeError } from "../../errors.ts";
import type { Logger } from "../../util/logger.ts";
import type { Demand, LazyPack } from "../contract.ts";
import { disposeEvent } from "./descriptors.ts";
import type { FanotifyJournal, WatchedRead } from "./journal.ts";
import { failpoint, hasFault } from "../../util/failpoint.ts";

export interface HeldRead extends WatchedRead {
  readonly slot: number;
}

export interface HeldReadsOptions {
  readonly group: number;
  readonly plug: number;
  readonly journal: FanotifyJournal;
  readonly demand: Demand;
  readonly log: Logger;
  /** Files that were watched when this process took over. */
  readonly watchedBefore: ReadonlySet<number>;
}

/**
 * After a takeover the kernel may ask for packs before they are exposed again; and packs that are
 * withdrawn for good have no readers. An error then, after that time.
 */
const exposeTimeoutMs = 30_000;
/** Between attempts to write an answer that the kernel did not take. */
const answerRetryMs = 100;

/** Descriptors that a process of ours may have had. */
const lostNumbersMax = 2 ** 16;

type Verdict = 0 | typeof errnoNumber.inputOutput;

export class HeldReads {
  readonly #options: HeldReadsOptions;
  /** By the inode of the file. */
  readonly #packs = new Map<number, LazyPack>();
  readonly #exposures = new Map<number, PromiseWithResolvers<void>>();
  /** Not answered yet. */
  readonly #held = new Set<HeldRead>();
  #isAbandoned = false;

  constructor(options: HeldReadsOptions) {
    this.#options = options;
  }

  exposed(inode: number, pack: LazyPack): void {
    this.#packs.set(inode, pack);
    this.#exposures.get(inode)?.resolve();
    this.#exposures.delete(inode);
  }

  withdrawn(packId: number): void {
    for (const [inode, pack] of this.#packs) if (pack.packId === packId) this.#packs.delete(inode);
  }

  /** Answers when the bytes are there, or cannot be had. */
  async hold(read: HeldRead): Promise<void> {
    this.#held.add(read);
    let verdict: Verdict = errnoNumber.inputOutput;
    try {
      for (const inode of await this.#filesOf(read)) await this.#fill(inode, read);
      verdict = 0;
    } catch (error) {
      const { inode, offsetBytes } = read;
      const reason = describeError(error);
      const packId = this.#packs.get(inode ?? 0)?.packId;
      const level = this.#isAbandoned ? "debug" : "warn";
      this.#options.log[level]({ packId, offsetBytes, reason }, "a read got an error");
    } finally {
      this.#answer(read, verdict);
    }
  }

  /**
   * Answers with an error a read whose number something else of this process has. A reader that
   * was reading ahead asks again by itself.
   */
  refuse({ fd, slot, offsetBytes }: HeldRead): void {
    const { group, journal, log } = this.#options;
    answerEvent(group, fd, errnoNumber.inputOutput);
    journal.release(slot);
    log.error({ fd, offsetBytes }, "cannot take over a read, which gets an error");
  }

  /** The same for all there may be, where the journal is lost. */
  refuseAll(): void {
    const { group, log } = this.#options;
    let reads = 0;
    for (let fd = 0; fd < lostNumbersMax; fd++)
      if (answerEvent(group, fd, errnoNumber.inputOutput)) reads += 1;
    log.error({ reads }, "the journal of reads is lost: those that waited get an error");
  }

  /** Tries until the kernel takes the answer, or says that nobody waits for it any more. */
  #answer(read: HeldRead, verdict: Verdict): void {
    if (this.#isAbandoned) return;
    const { group, journal, plug, log } = this.#options;
    try {
      failpoint("answer.before");
      answerEvent(group, read.fd, verdict);
      failpoint("answer.after");
    } catch (error) {
      log.error({ reason: describeError(error) }, "cannot answer the kernel; trying again");
      setTimeout(() => this.#answer(read, verdict), answerRetryMs);
      return;
    }
    this.#held.delete(read);
    journal.release(read.slot);
    disposeEvent(read.fd, plug);
  }

  /** Leaves all reads to the process that takes over. */
  abandon(): void {
    this.#isAbandoned = true;
    for (const { reject } of this.#exposures.values())
      reject(new AppError("unavailable", "The backend is closed"));
    this.#exposures.clear();
    for (const { fd } of this.#held) disposeEvent(fd, this.#options.plug);
    this.#held.clear();
  }

  /**
   * Which files are to be filled. Where the process before this one died before it knew, all that
   * the read may have been of.
   */
  async #filesOf({ inode }: HeldRead): Promise<readonly number[]> {
    const inodes = inode === undefined ? [...this.#options.watchedBefore] : [inode];
    await Promise.all(inodes.map((each) => this.#whenExposed(each)));
    return inodes;
  }

  async #whenExposed(inode: number): Promise<void> {
    if (this.#packs.has(inode)) return;
    const exposure = this.#exposures.get(inode) ?? Promise.withResolvers<void>();
    this.#exposures.set(inode, exposure);
    const problem = new AppError("unavailable", `File ${inode} was not exposed again`);
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(problem), exposeTimeoutMs);
    try {
      await Promise.race([exposure.promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #fill(inode: number, { offsetBytes, lengthBytes }: HeldRead): Promise<void> {
    const pack = this.#packs.get(inode);
    if (pack === undefined) throw new AppError("unavailable", "The pack was withdrawn");
    const { packId, pieces } = pack;
    // What lies behind the last piece is zeros, and there.
    const wanted = Math.min(lengthBytes, pieces.packBytes - offsetBytes);
    if (hasFault("answer-before-write")) return;
    if (wanted > 0) await this.#options.demand({ packId, offsetBytes, lengthBytes: wanted });
  }
}

/**
 * Reads of what is not there yet, and questions about packs that are to be exposed again. Each is
 * answered exactly once: with what was asked for, with an error, or with EINTR when whoever waits
 * is being killed. Being taken out of the map is what entitles to answer.
 *
 * @module
 */
import { errnoNumber } from "../../../ffi/errno.ts";
import { AppError, describeError } from "../../errors.ts";
import type { Logger } from "../../util/logger.ts";
import type { Demand } from "../contract.ts";
import { isDying } from "./dying.ts";
import { answerOfPack } from "./pack-answers.ts";
import type { PackTable } from "./pack-table.ts";
import type { ReplyWriter } from "./reply-writer.ts";
import type { PassedInterrupt, PassedQuestion, PassedRead } from "./server.ts";
import { failpoint, hasFault } from "../../util/failpoint.ts";

/** How often it is asked whether a reader with a harmless signal was killed since. */
const dyingIntervalMs = 100;

/**
 * After a takeover the kernel may ask for packs before they are exposed again; and packs that are
 * withdrawn for good have no readers. An error then, after that time.
 */
const exposeTimeoutMs = 30_000;

export interface WaitingReadsOptions {
  readonly replies: Pick<ReplyWriter, "fail" | "send" | "sendContent">;
  readonly packs: Pick<PackTable, "has" | "isExpected" | "enter" | "leave">;
  readonly demand: Demand;
  readonly log: Logger;
}

export class WaitingReads {
  readonly #options: WaitingReadsOptions;
  readonly #waiting = new Map<bigint, PassedRead | PassedQuestion>();
  /** Reads whose reader got a signal that does not end it, so far. */
  readonly #signalled = new Set<bigint>();
  /** Resolved when the pack is exposed. */
  readonly #exposures = new Map<number, PromiseWithResolvers<void>>();
  #timer: Timer | undefined;

  constructor(options: WaitingReadsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#waiting.size;
  }

  /** Answers when the data is there, or cannot be had. */
  async read(read: PassedRead): Promise<void> {
    const { unique, packId, offsetBytes } = read;
    this.#waiting.set(unique, read);
    let isOurs = false;
    try {
      const lengthBytes = await this.#demand(read);
      isOurs = this.#take(unique);
      if (isOurs) this.#answer(read, lengthBytes);
    } catch (error) {
      const reason = describeError(error);
      this.#options.log.warn({ packId, offsetBytes, reason }, "a read got an error");
      // The kernel did not take the answer: it takes a second one only if it still waits.
      if (isOurs) this.#options.replies.fail(unique, errnoNumber.inputOutput);
      else this.#fail(unique, errnoNumber.inputOutput);
    }
  }

  /** Answers when the pack is exposed again, or will not be: then there is no such file. */
  async question(question: PassedQuestion): Promise<void> {
    const { unique, packId, opcode } = question;
    const { packs, replies } = this.#options;
    this.#waiting.set(unique, question);
    if (packs.isExpected(packId)) await this.#whenExposed(packId);
    if (!this.#take(unique)) return;
    const row = packs.enter(packId);
    if (row === undefined) {
      replies.fail(unique, errnoNumber.noEntry);
      return;
    }
    try {
      replies.send(unique, answerOfPack(opcode, row));
    } finally {
      packs.leave(packId);
    }
  }

  /** A reader got a signal. */
  interrupt({ unique, interrupted }: PassedInterrupt): void {
    const read = this.#waiting.get(interrupted);
    if (read === undefined) {
      // Answered by now, and then nobody hears this; or on its way here from another thread: the
      // kernel asks again (Documentation/filesystems/fuse/fuse.rst, "Interrupting operations").
      this.#options.replies.fail(unique, errnoNumber.again);
      return;
    }
    this.#signalled.add(interrupted);
    this.#endDying();
  }

  exposed(packId: number): void {
    this.#exposures.get(packId)?.resolve();
    this.#exposures.delete(packId);
  }

  /** The pack is gone: who reads of it gets an error. */
  withdrawn(packId: number): void {
    const { inputOutput, noEntry } = errnoNumber;
    for (const { kind, unique, packId: asked } of this.#waiting.values())
      if (asked === packId) this.#fail(unique, kind === "read" ? inputOutput : noEntry);
  }

  /** Leaves all reads to the process that takes over, or to the end of the channel. */
  abandon(): void {
    this.#waiting.clear();
    this.#signalled.clear();
    clearTimeout(this.#timer);
  }

  async #demand({ packId, offsetBytes, lengthBytes }: PassedRead): Promise<number> {
    if (!this.#options.packs.has(packId)) await this.#whenExposed(packId);
    const row = this.#options.packs.enter(packId);
    if (row === undefined) throw new AppError("unavailable", `Pack ${packId} is not exposed`);
    this.#options.packs.leave(packId);
    const wanted = Math.max(0, Math.min(lengthBytes, row.sizeBytes - offsetBytes));
    if (hasFault("answer-before-write")) return wanted;
    await this.#options.demand({ packId, offsetBytes, lengthBytes: wanted });
    return wanted;
  }

  async #whenExposed(packId: number): Promise<void> {
    const exposure = this.#exposures.get(packId) ?? Promise.withResolvers<void>();
    this.#exposures.set(packId, exposure);
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, exposeTimeoutMs);
    await Promise.race([exposure.promise, late]);
    clearTimeout(timer);
  }

  #answer({ unique, packId, offsetBytes }: PassedRead, lengthBytes: number): void {
    const { packs, replies } = this.#options;
    const row = packs.enter(packId);
    if (row === undefined) {
      replies.fail(unique, errnoNumber.inputOutput);
      return;
    }
    failpoint("answer.before");
    try {
      replies.sendContent(unique, row.file, offsetBytes, lengthBytes);
      failpoint("answer.after");
    } finally {
      packs.leave(packId);
    }
  }

  #fail(unique: bigint, errno: number): void {
    if (this.#take(unique)) this.#options.replies.fail(unique, errno);
  }

  /** False where the read was answered. */
  #take(unique: bigint): boolean {
    this.#signalled.delete(unique);
    return this.#waiting.delete(unique);
  }

  #endDying(): void {
    for (const unique of this.#signalled) {
      const read = this.#waiting.get(unique);
      if (read !== undefined && isDying(read.pid)) this.#fail(unique, errnoNumber.interrupted);
    }
    clearTimeout(this.#timer);
    if (this.#signalled.size === 0) return;
    // The kernel tells of the first signal only.
    this.#timer = setTimeout(() => this.#endDying(), dyingIntervalMs);
    this.#timer.unref();
  }
}

/**
 * A thread that waits for the kernel and for its fellow threads at once: poll(2) with eventfd(2).
 *
 * @module
 */
import { eventFlag, pollEvent } from "./constants.ts";
import { check, errnoNumber, isErrno } from "./errno.ts";
import { libc } from "./libc.ts";
import { zeroed } from "./memory.ts";
import { struct } from "./struct.ts";

/** `struct pollfd`, include/uapi/asm-generic/poll.h. */
const pollFd = struct(8, [
  ["fd", "s32"],
  ["events", "bytes2"],
  ["returned", "bytes2"],
]);

const readable = Buffer.from([pollEvent.readable, 0]);
const counterBytes = 8;

/** A descriptor that can be read from `wake` on, by all who wait for it. */
export function openWake(): number {
  return check(libc().eventfd(0, eventFlag.closeOnExec), "eventfd", "wake");
}

export function wake(fd: number): void {
  const one = zeroed(counterBytes);
  one.writeUInt8(1);
  check(libc().write(fd, one, counterBytes), "write", "wake");
}

/** Blocks its thread until one of the descriptors can be read, or has failed. */
export class Waiter {
  readonly #table: Buffer;
  readonly #count: number;

  constructor(fds: readonly number[]) {
    this.#table = zeroed(fds.length * pollFd.sizeBytes);
    this.#count = fds.length;
    for (const [index, fd] of fds.entries()) {
      this.#table.set(pollFd.encode({ fd, events: readable }), index * pollFd.sizeBytes);
    }
  }

  /** @param timeoutMs -1: without end */
  wait(timeoutMs = -1): void {
    try {
      check(libc().poll(this.#table, this.#count, timeoutMs), "poll", "descriptors");
    } catch (error) {
      if (!isErrno(error, errnoNumber.interrupted)) throw error;
    }
  }
}

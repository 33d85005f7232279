/**
 * Threads that wait for the kernel and for their fellow threads at once: epoll(7) and eventfd(2).
 *
 * @module
 */
import { epollEvent, eventFlag } from "./constants.ts";
import { check, errnoNumber, isErrno } from "./errno.ts";
import { close } from "./file.ts";
import { libc } from "./libc.ts";
import { zeroed } from "./memory.ts";

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

/**
 * `struct epoll_event`, include/uapi/linux/eventpoll.h: 12 bytes on x86-64, where it is packed, 16
 * elsewhere. Only its first field matters here.
 */
const eventBytesMax = 16;

/** Blocks its thread until a descriptor can be read. */
export class Waiter implements Disposable {
  readonly #epoll = check(libc().epoll_create1(epollEvent.closeOnExec), "epoll_create1", "waiter");
  readonly #event = zeroed(eventBytesMax);

  /**
   * @param shared what several threads wait for, of whom one is to be woken (Linux 4.5): each has a
   *   waiter of its own
   * @param own what wakes all
   */
  constructor(shared: number, own?: number) {
    this.#add(shared, epollEvent.readable | epollEvent.exclusive);
    if (own !== undefined) this.#add(own, epollEvent.readable);
  }

  /** @param timeoutMs -1: without end */
  wait(timeoutMs = -1): void {
    try {
      check(libc().epoll_wait(this.#epoll, this.#event, 1, timeoutMs), "epoll_wait", "waiter");
    } catch (error) {
      if (!isErrno(error, errnoNumber.interrupted)) throw error;
    }
  }

  [Symbol.dispose](): void {
    close(this.#epoll);
  }

  #add(fd: number, events: number): void {
    const event = zeroed(eventBytesMax);
    event.writeUInt32LE(events);
    const result = libc().epoll_ctl(this.#epoll, epollEvent.add, fd, event);
    check(result, "epoll_ctl", `fd ${fd}`);
  }
}

/**
 * What systemd gives to the main process of a service, and is told by it: sd_notify(3),
 * sd_listen_fds(3), sd_pid_notify_with_fds(3). Only the protocol, which systemd promises to keep.
 *
 * @module
 */
import { closeSync, readSync } from "node:fs";
import { openPipe, sendDatagram } from "../../ffi/datagram.ts";
import { setCloseOnExec } from "../../ffi/pidfd.ts";
import { AppError } from "../errors.ts";
import type { Environment } from "../config/load.ts";

/** SD_LISTEN_FDS_START */
const firstInheritedFd = 3;
const barrierTimeoutMs = 5_000;
const barrierIntervalMs = 5;

/** A descriptor of the fd store, as this process got it at its start. */
export interface StoredDescriptor {
  readonly name: string;
  readonly fd: number;
}

export class ServiceManager {
  readonly #address: string;

  private constructor(address: string) {
    this.#address = address;
  }

  /** Undefined where nobody is to be notified. */
  static of(environment: Environment): ServiceManager | undefined {
    const address = environment["NOTIFY_SOCKET"];
    return address ? new ServiceManager(address) : undefined;
  }

  /** @param lines of the form `NAME=value` */
  notify(lines: readonly string[], fd?: number): void {
    sendDatagram(this.#address, lines.join("\n"), fd);
  }

  /**
   * Resolves when everything said before has been taken in: the other end of a pipe, sent behind
   * it, is closed then. Rejects with `unavailable` where that takes too long.
   */
  async barrier(): Promise<void> {
    const { readEnd, writeEnd } = openPipe();
    try {
      try {
        this.notify(["BARRIER=1"], writeEnd);
      } finally {
        closeSync(writeEnd);
      }
      const endMs = performance.now() + barrierTimeoutMs;
      while (isOpenElsewhere(readEnd)) {
        if (performance.now() > endMs) {
          throw new AppError("unavailable", "systemd does not take in what it is notified of");
        }
        await Bun.sleep(barrierIntervalMs);
      }
    } finally {
      closeSync(readEnd);
    }
  }
}

function isOpenElsewhere(readEnd: number): boolean {
  try {
    return readSync(readEnd, new Uint8Array(1)) > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return true;
    throw error;
  }
}

/** What the fd store had at the start of this process; to be asked once, before anything is run. */
export function storedDescriptors(environment: Environment): StoredDescriptor[] {
  if (environment["LISTEN_PID"] !== String(process.pid)) return [];
  const count = Number(environment["LISTEN_FDS"]);
  if (!Number.isInteger(count) || count < 0) return [];
  const names = (environment["LISTEN_FDNAMES"] ?? "").split(":");
  return Array.from({ length: count }, (_, index) => {
    const fd = firstInheritedFd + index;
    setCloseOnExec(fd);
    return { name: names[index] ?? "", fd };
  });
}

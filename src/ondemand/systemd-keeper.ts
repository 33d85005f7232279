/**
 * systemd's fd store in the place of the keeper: PID 1 holds the channels, and gives them to the
 * next process of the service.
 *
 * The store takes in any number of descriptors by one name, and drops them by name; a channel that
 * replaces another one is therefore stored as `name.2`, before `name.1` is dropped. One that it has
 * already (the same open file) it does not take in again, whatever the name: so neither do we.
 *
 * @module
 */
import { close } from "../../ffi/file.ts";
import { duplicate, isSameFile } from "../../ffi/pidfd.ts";
import type { ChannelKeeper } from "./contract.ts";
import type { ServiceManager, StoredDescriptor } from "./systemd.ts";

interface Stored {
  readonly generation: number;
  /** Of this process: from the store, or a duplicate of what was given to it. */
  readonly fd: number;
}

export class SystemdKeeper implements ChannelKeeper {
  readonly #manager: Pick<ServiceManager, "notify" | "barrier">;
  readonly #stored = new Map<string, Stored>();

  /**
   * @param inherited what the store had at the start of this process
   * @throws AppError `internal` (ENOSYS) where the kernel cannot compare open files
   */
  constructor(
    manager: Pick<ServiceManager, "notify" | "barrier">,
    inherited: readonly StoredDescriptor[],
  ) {
    isSameFile(0, 0);
    this.#manager = manager;
    for (const { name, fd } of inherited) this.#take(name, fd);
  }

  adopt(name: string): Promise<number | undefined> {
    const stored = this.#stored.get(name);
    return Promise.resolve(stored && duplicate(stored.fd));
  }

  /** Rejects with `unavailable` where systemd does not answer. */
  async keep(name: string, fd: number): Promise<void> {
    const previous = this.#stored.get(name);
    if (previous !== undefined && isSameFile(previous.fd, fd)) return;
    const next = { generation: (previous?.generation ?? 0) + 1, fd: duplicate(fd) };
    // Without FDPOLL=0 systemd drops what reports an error or a hang-up.
    const store = ["FDSTORE=1", `FDNAME=${name}.${next.generation}`, "FDPOLL=0"];
    this.#manager.notify(store, next.fd);
    await this.#manager.barrier();
    this.#stored.set(name, next);
    if (previous !== undefined) this.#drop(name, previous);
  }

  /** Of two of a name, the process was ended between storing the one and dropping the other. */
  #take(storedName: string, fd: number): void {
    const match = /^(.+)\.([0-9]{1,9})$/.exec(storedName);
    if (match === null) {
      close(fd);
      return;
    }
    const name = match[1] ?? "";
    const found = { generation: Number(match[2]), fd };
    const other = this.#stored.get(name);
    const isNewer = other === undefined || found.generation > other.generation;
    if (isNewer) this.#stored.set(name, found);
    const superseded = isNewer ? other : found;
    if (superseded !== undefined) this.#drop(name, superseded);
  }

  #drop(name: string, { generation, fd }: Stored): void {
    this.#manager.notify(["FDSTOREREMOVE=1", `FDNAME=${name}.${generation}`]);
    close(fd);
  }
}

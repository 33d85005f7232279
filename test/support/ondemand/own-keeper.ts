/** A keeper in the process of the test, for one channel. */
import { close } from "../../../ffi/file.ts";
import { duplicate } from "../../../ffi/pidfd.ts";
import type { ChannelKeeper } from "../../../src/ondemand/contract.ts";

export class OwnKeeper implements ChannelKeeper {
  #kept: number | undefined;

  adopt(): Promise<number | undefined> {
    return Promise.resolve(this.#kept === undefined ? undefined : duplicate(this.#kept));
  }

  keep(_name: string, fd: number): Promise<void> {
    this.die();
    this.#kept = duplicate(fd);
    return Promise.resolve();
  }

  die(): void {
    if (this.#kept !== undefined) close(this.#kept);
    this.#kept = undefined;
  }
}

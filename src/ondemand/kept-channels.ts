/** The descriptors that the keeper holds: duplicates, taken from the processes that use them. */
import { duplicateFrom } from "../../ffi/pidfd.ts";
import { close } from "../../ffi/file.ts";
import { AppError } from "../errors.ts";
import { type Channel, channelsMax, targetOf } from "./keeper-protocol.ts";

/**
 * A duplicate of another process's descriptor.
 *
 * @throws AppError `failed_precondition` where it is not what its owner said it to be
 */
export function takeDuplicate(pid: number, { fd, target }: Channel): number {
  const own = duplicateFrom(pid, fd);
  const found = targetOf(own);
  if (found === target) return own;
  close(own);
  const problem = `fd ${fd} of process ${pid} is "${found}", not "${target}"`;
  throw new AppError("failed_precondition", problem);
}

export class KeptChannels {
  readonly #channels = new Map<string, Channel>();

  has(name: string): boolean {
    return this.#channels.has(name);
  }

  list(): Channel[] {
    return [...this.#channels.values()];
  }

  /** Takes the duplicate, then closes the one it replaces: there is never none. */
  keep(pid: number, channel: Channel): void {
    const { name, target } = channel;
    const previous = this.#channels.get(name);
    if (previous === undefined && this.#channels.size >= channelsMax) {
      throw new AppError("resource_exhausted", `The keeper holds ${channelsMax} channels`);
    }
    this.#channels.set(name, { name, fd: takeDuplicate(pid, channel), target });
    if (previous !== undefined) close(previous.fd);
  }
}

/**
 * A channel that tells when it was closed: the write end of a FIFO. As long as any process holds
 * it, a read finds no data (EAGAIN); after that, the end of the file, for good.
 */
import { closeSync, constants, openSync, readSync } from "node:fs";
import { runCommand } from "../../../scripts/lib/process.ts";

export class ChannelProbe implements Disposable {
  readonly path: string;
  readonly #readEnd: number;

  private constructor(path: string) {
    this.path = path;
    this.#readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  }

  static async create(path: string): Promise<ChannelProbe> {
    await runCommand(["mkfifo", path]);
    return new ChannelProbe(path);
  }

  /** A descriptor of this process, to give to a keeper. */
  openChannel(): number {
    return openSync(this.path, constants.O_WRONLY);
  }

  /** Whether any process has the channel open. */
  isHeld(): boolean {
    try {
      readSync(this.#readEnd, new Uint8Array(1));
      return false;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") return true;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#readEnd);
  }
}

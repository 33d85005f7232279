/**
 * Makes committed transactions durable without making the event loop wait.
 *
 * With `synchronous=NORMAL` a commit appends to the write-ahead log and returns; the log reaches
 * the disk here, by an fdatasync in a thread of the pool, shared by all who wait for one.
 * A transaction that a checkpoint moved meanwhile is durable too: SQLite syncs both files itself
 * before it starts the log over.
 *
 * @module
 */
import { closeSync, fdatasync, openSync } from "node:fs";
import { promisify } from "node:util";
import { AppError } from "../errors.ts";
import { GroupSync } from "../util/group-sync.ts";

const fdatasyncAsync = promisify(fdatasync);

export class WalSync {
  readonly #path: string;
  readonly #fd: number;
  readonly #group: GroupSync;

  /** The log must exist; it does once the database was read in WAL mode. */
  constructor(databasePath: string) {
    this.#path = `${databasePath}-wal`;
    // Read-only is enough for fdatasync(2), and cannot do harm.
    this.#fd = openSync(this.#path, "r");
    this.#group = new GroupSync(() => this.#sync());
  }

  /** Resolves when all transactions committed before the call are on disk. */
  durable(): Promise<void> {
    return this.#group.run();
  }

  /** Throws if a sync ever failed: what the log then holds is unknown until it is read again. */
  assertHealthy(): void {
    if (this.#group.failure !== undefined) throw this.#group.failure.reason;
  }

  async close(): Promise<void> {
    await this.#group.run().finally(() => closeSync(this.#fd));
  }

  async #sync(): Promise<void> {
    try {
      await fdatasyncAsync(this.#fd);
    } catch (error) {
      throw new AppError("data_loss", `Cannot sync "${this.#path}"`, {
        cause: error,
        remedy: "check the disk, then restart the daemon",
      });
    }
  }
}

/** One connection to the keeper: requests one after the other, and how its end is noticed. */
import type { Socket } from "bun";
import { AppError } from "../errors.ts";
import { type Channel, type KeeperRequest, LineBuffer, parseAnswer } from "./keeper-protocol.ts";

/** The keeper only looks into memory, but the machine may be busy. */
const answerTimeoutMs = 10_000;

export interface KeeperHolds {
  readonly pid: number;
  /** Descriptors are the keeper's. */
  readonly channels: readonly Channel[];
}

/** The keeper ended, or does not answer, before the answer came. */
export class KeeperLost extends AppError {
  override readonly name = "KeeperLost";

  constructor() {
    super("unavailable", "The keeper has ended, or does not answer");
  }
}

export class KeeperConnection {
  /** Resolves when the connection has ended, which is when the keeper has. */
  readonly closed: Promise<void>;
  readonly #waiting: PromiseWithResolvers<KeeperHolds>[];
  readonly #socket: Socket;

  private constructor(
    socket: Socket,
    waiting: PromiseWithResolvers<KeeperHolds>[],
    closed: Promise<void>,
  ) {
    this.#socket = socket;
    this.#waiting = waiting;
    this.closed = closed;
  }

  /** Rejects where nobody listens on the socket. */
  static async open(socketPath: string): Promise<KeeperConnection> {
    const closed = Promise.withResolvers<void>();
    const waiting: PromiseWithResolvers<KeeperHolds>[] = [];
    const lines = new LineBuffer();
    const socket = await Bun.connect({
      unix: socketPath,
      socket: {
        data(origin, bytes) {
          try {
            for (const line of lines.push(bytes)) settle(waiting.shift(), line);
          } catch {
            origin.terminate();
          }
        },
        close: () => closed.resolve(),
        error: () => closed.resolve(),
      },
    });
    return new KeeperConnection(socket, waiting, closed.promise);
  }

  /** Rejects with `KeeperLost`, or with the AppError that the keeper answered. */
  async ask(request: KeeperRequest): Promise<KeeperHolds> {
    const answer = Promise.withResolvers<KeeperHolds>();
    this.#waiting.push(answer);
    this.#socket.write(`${JSON.stringify(request)}\n`);
    const timer = setTimeout(() => this.close(), answerTimeoutMs);
    const lost = this.closed.then(() => {
      throw new KeeperLost();
    });
    try {
      return await Promise.race([answer.promise, lost]);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#socket.terminate();
  }
}

function settle(request: PromiseWithResolvers<KeeperHolds> | undefined, line: string): void {
  try {
    request?.resolve(parseAnswer(line));
  } catch (error) {
    request?.reject(error);
  }
}

/** Ends the keeper, if one runs, and with it closes all channels that nobody else holds. */
export async function shutdownKeeper(socketPath: string): Promise<void> {
  const connection = await KeeperConnection.open(socketPath).catch(() => undefined);
  // It ends instead of answering.
  await connection?.ask({ do: "shutdown" }).catch(() => undefined);
}

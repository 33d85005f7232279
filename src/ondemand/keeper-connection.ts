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
  readonly #waiting: PromiseWithResolvers<KeeperHolds>[] = [];
  readonly #lines = new LineBuffer();
  readonly #socket: Socket<undefined>;

  private constructor(socket: Socket<undefined>, closed: Promise<void>) {
    this.#socket = socket;
    this.closed = closed;
  }

  /** Rejects where nobody listens on the socket. */
  static async open(socketPath: string): Promise<KeeperConnection> {
    const closed = Promise.withResolvers<void>();
    // The keeper says nothing unasked, so nothing comes before the connection is made below.
    let receive: (bytes: Uint8Array) => void = () => {};
    const socket = await Bun.connect<undefined>({
      unix: socketPath,
      socket: {
        data: (_, bytes) => receive(bytes),
        close: () => closed.resolve(),
        error: () => closed.resolve(),
      },
    });
    const connection = new KeeperConnection(socket, closed.promise);
    receive = (bytes) => connection.#receive(bytes);
    return connection;
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

  #receive(bytes: Uint8Array): void {
    try {
      for (const line of this.#lines.push(bytes)) this.#settle(line);
    } catch {
      this.close();
    }
  }

  #settle(line: string): void {
    const request = this.#waiting.shift();
    try {
      request?.resolve(parseAnswer(line));
    } catch (error) {
      request?.reject(error);
    }
  }
}

/** Ends the keeper, if one runs, and with it closes all channels that nobody else holds. */
export async function shutdownKeeper(socketPath: string): Promise<void> {
  const connection = await KeeperConnection.open(socketPath).catch(() => undefined);
  // It ends instead of answering.
  await connection?.ask({ do: "shutdown" }).catch(() => undefined);
}

/**
 * The keeper as its users see it: it is there, and when it dies, there is another one.
 *
 * A keeper that was killed closes its connections, which is noticed at once. Then a new one is
 * started and given what the old one had; meanwhile the channels are open in this process, which
 * has duplicates of its own. Only if all who hold a channel end in the same moment is it lost.
 *
 * @module
 */
import { close } from "../../ffi/file.ts";
import { duplicate } from "../../ffi/pidfd.ts";
import { AppError, describeError } from "../errors.ts";
import type { Logger } from "../util/logger.ts";
import type { ChannelKeeper } from "./contract.ts";
import { KeeperConnection, type KeeperHolds, KeeperLost } from "./keeper-connection.ts";
import { type KeeperRequest, targetOf } from "./keeper-protocol.ts";
import { takeDuplicate } from "./kept-channels.ts";
import { failpoint } from "../util/failpoint.ts";

/** A process of ours is there after some 50 ms; ten times that, on a busy machine. */
const startTimeoutMs = 2_000;
const connectIntervalMs = 10;
/** Before another one is started where two in a row did not live longer than that. */
const retryDelayMs = 250;
/** Who asks the keeper waits this long for there to be one. */
const patienceMs = 10_000;

export interface KeeperClientOptions {
  /** `socketPaths().keeper` */
  readonly socketPath: string;
  /** Starts a keeper; that another one does so at the same time does no harm. */
  readonly start: () => void;
  /** Names of channels that somebody has: a keeper without them is about to get them. */
  readonly expected: readonly string[];
  readonly log: Logger;
}

export class KeeperClient implements ChannelKeeper {
  readonly #options: KeeperClientOptions;
  /** Descriptors of this process, duplicates that nobody else closes. */
  readonly #kept = new Map<string, number>();
  /** Channels of others, likewise. */
  readonly #mirrored = new Map<string, number>();
  #connection = Promise.withResolvers<KeeperConnection>();
  #isClosed = false;
  readonly #watching: Promise<void>;

  /** Starts a keeper where there is none, and looks after it until it is closed. */
  constructor(options: KeeperClientOptions) {
    this.#options = options;
    this.#watching = this.#watch();
  }

  /** Rejects with `unavailable` where no keeper can be started, or not with what is expected. */
  async adopt(name: string): Promise<number | undefined> {
    const endMs = performance.now() + patienceMs;
    for (;;) {
      const { pid, channels } = await this.#ask({ do: "list" });
      const channel = channels.find((candidate) => candidate.name === name);
      if (channel === undefined && !this.#options.expected.includes(name)) return undefined;
      try {
        if (channel !== undefined) return this.#remember(name, takeDuplicate(pid, channel));
      } catch (error) {
        // The keeper ended in that moment; another one has it as soon as somebody gave it to it.
        if (performance.now() > endMs) throw error;
      }
      if (performance.now() > endMs) {
        throw new AppError("unavailable", `The keeper does not get the channel "${name}"`);
      }
      await Bun.sleep(connectIntervalMs);
    }
  }

  /** The keeper that has it may die, and the next one gets it from here. */
  #remember(name: string, fd: number): number {
    const previous = this.#kept.get(name);
    this.#kept.set(name, duplicate(fd));
    if (previous !== undefined) close(previous);
    failpoint("channel.after-adopt");
    return fd;
  }

  /** Rejects with `unavailable` where no keeper can be started. */
  async keep(name: string, fd: number): Promise<void> {
    failpoint("channel.before-keep");
    const own = duplicate(fd);
    const previous = this.#kept.get(name);
    this.#kept.set(name, own);
    try {
      await this.#ask(request("keep", name, own));
      failpoint("channel.after-keep");
    } finally {
      // Not earlier: a new keeper may be asking for it right now.
      if (previous !== undefined) close(previous);
    }
  }

  /** Resolves when a keeper is there and has all that was given to this client. */
  async ready(): Promise<void> {
    await this.#ask({ do: "list" });
  }

  /**
   * Holds what the keeper has now as well, whoever gave it, and gives it to the next keeper if
   * nobody else did: the channels stay even if the keeper and who uses them die together.
   */
  async mirror(): Promise<void> {
    const { pid, channels } = await this.#ask({ do: "list" });
    for (const channel of channels) {
      const own = takeDuplicate(pid, channel);
      const previous = this.#mirrored.get(channel.name);
      this.#mirrored.set(channel.name, own);
      if (previous !== undefined) close(previous);
    }
  }

  /** The names of what `mirror` got. */
  mirrored(): string[] {
    return [...this.#mirrored.keys()];
  }

  /** Resolves when a keeper has all that was open here, or none can be had. */
  async close(): Promise<void> {
    if (this.#kept.size + this.#mirrored.size > 0) await this.#handOver();
    this.#isClosed = true;
    const connection = await Promise.race([this.#connection.promise, Promise.resolve()]);
    connection?.close();
    await this.#watching;
    closeAll(this.#kept);
    closeAll(this.#mirrored);
  }

  /** The keeper may have ended just now: then these are the last descriptors of the channels. */
  async #handOver(): Promise<void> {
    try {
      await this.ready();
    } catch (error) {
      const channels = [...this.#kept.keys(), ...this.#mirrored.keys()];
      this.#options.log.error({ channels, reason: describeError(error) }, "nobody keeps channels");
    }
  }

  async #ask(question: KeeperRequest): Promise<KeeperHolds> {
    const deadlineMs = performance.now() + patienceMs;
    for (;;) {
      const connection = await this.#connected(deadlineMs - performance.now());
      try {
        return await connection.ask(question);
      } catch (error) {
        if (!(error instanceof KeeperLost) || this.#isClosed) throw error;
      }
    }
  }

  async #connected(timeoutMs: number): Promise<KeeperConnection> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const problem = `There is no keeper at "${this.#options.socketPath}"`;
    const timer = setTimeout(() => reject(new AppError("unavailable", problem)), timeoutMs);
    try {
      return await Promise.race([this.#connection.promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #watch(): Promise<void> {
    const { log } = this.#options;
    let wasShort = false;
    while (!this.#isClosed) {
      const startMs = performance.now();
      try {
        const connection = await this.#open();
        await this.#giveAll(connection);
        this.#connection.resolve(connection);
        if (this.#isClosed) connection.close();
        await connection.closed;
        this.#connection = Promise.withResolvers();
        if (!this.#isClosed) log.warn({ channels: [...this.#kept.keys()] }, "the keeper ended");
      } catch (error) {
        log.error({ reason: describeError(error) }, "cannot start the keeper");
      }
      const isShort = performance.now() - startMs < retryDelayMs;
      if (!this.#isClosed && isShort && wasShort) await Bun.sleep(retryDelayMs);
      wasShort = isShort;
    }
  }

  async #giveAll(connection: KeeperConnection): Promise<void> {
    for (const [name, fd] of this.#kept) await this.#give(connection, request("keep", name, fd));
    for (const [name, fd] of this.#mirrored) {
      await this.#give(connection, request("restore", name, fd));
    }
  }

  async #give(connection: KeeperConnection, channel: KeeperRequest): Promise<void> {
    try {
      await connection.ask(channel);
    } catch (error) {
      // A keeper that ended meanwhile is followed by another one, which gets all of it.
      if (error instanceof KeeperLost) return;
      this.#options.log.error({ channel, reason: describeError(error) }, "a channel is not kept");
    }
  }

  /** A connection to the keeper that runs, or to one that is started now. */
  async #open(): Promise<KeeperConnection> {
    const { socketPath, start } = this.#options;
    const running = await tryOpen(socketPath);
    if (running !== undefined) return running;
    start();
    const endMs = performance.now() + startTimeoutMs;
    while (performance.now() < endMs) {
      const connection = await tryOpen(socketPath);
      if (connection !== undefined) return connection;
      await Bun.sleep(connectIntervalMs);
    }
    throw new AppError("unavailable", `Nobody listens on "${socketPath}" after the start`);
  }
}

function request(task: "keep" | "restore", name: string, fd: number): KeeperRequest {
  return { do: task, pid: process.pid, name, fd, target: targetOf(fd) };
}

function closeAll(channels: Map<string, number>): void {
  for (const fd of channels.values()) close(fd);
  channels.clear();
}

function tryOpen(socketPath: string): Promise<KeeperConnection | undefined> {
  return KeeperConnection.open(socketPath).catch(() => undefined);
}

/** dedupd as a process, run from its source, on a root of its own. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import {
  type CommandOptions,
  type CommandResult,
  type Service,
  startService,
  tryCommand,
  waitUntil,
} from "../../../scripts/lib/process.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import type { configSchema } from "../../../src/config/schema.ts";
import { ControlClient } from "../../../src/ondemand/control-client.ts";
import { ownCommand } from "../../../src/ondemand/own-process.ts";
import { socketPaths } from "../../../src/ondemand/sockets.ts";
import { canConnect } from "../socket.ts";

export class DedupdProcess implements AsyncDisposable {
  readonly #folder = scratchFolder("dedupd");
  readonly root = join(this.#folder.path, "root");
  readonly #address = join(this.#folder.path, "s.sock");
  readonly logFile = join(this.#folder.path, "dedupd.log");
  readonly #config = join(this.#folder.path, "config.json");
  readonly control = new ControlClient(socketPaths(this.#address).dedupd);
  #service: Service | undefined;

  constructor(config: z.input<typeof configSchema>) {
    const fixed = { root: this.root, address: this.#address, log_level: "debug" };
    writeFileSync(this.#config, JSON.stringify({ ...config, ...fixed }));
  }

  get #options(): CommandOptions {
    return { cwd: "/", env: { CONFIG: this.#config, DOCKER_CONFIG: this.#folder.path } };
  }

  get socketPath(): string {
    return socketPaths(this.#address).dedupd;
  }

  get pid(): number {
    if (this.#service === undefined) throw new Error("dedupd does not run");
    return this.#service.pid;
  }

  async start(): Promise<void> {
    this.#service = startService(ownCommand(["dedupd"]), this.logFile, this.#options);
    await waitUntil(() => canConnect(this.socketPath), "dedupd does not listen");
  }

  /** Beside the one that runs; resolves when it has ended. */
  runAnother(): Promise<CommandResult> {
    return tryCommand(ownCommand(["dedupd"]), this.#options);
  }

  /** SIGTERM; its exit code. */
  async stop(): Promise<number | undefined> {
    const exitCode = await this.#service?.stop();
    this.#service = undefined;
    return exitCode;
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#service?.kill();
    this.#service = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#folder[Symbol.dispose]();
  }
}

/** dedupd as a process, run from its source, on a root of its own. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import { unmount } from "../../../ffi/mount.ts";
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
import { parseMountInfo } from "../../../src/mount/mountinfo.ts";
import { ControlClient } from "../../../src/ondemand/control-client.ts";
import { shutdownKeeper } from "../../../src/ondemand/keeper-connection.ts";
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
  readonly #command: readonly string[];
  #service: Service | undefined;

  /** @param command default: from its source; or the compiled program */
  constructor(config: z.input<typeof configSchema>, command = ownCommand(["dedupd"])) {
    this.#command = command;
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
    this.#service = startService(this.#command, this.logFile, this.#options);
    await waitUntil(() => canConnect(this.socketPath), "dedupd does not listen");
  }

  /** Beside the one that runs; resolves when it has ended. */
  runAnother(): Promise<CommandResult> {
    return tryCommand(this.#command, this.#options);
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

  /** With the keeper it started, and what is mounted of its root. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await shutdownKeeper(socketPaths(this.#address).keeper);
    for (const { mountPoint } of parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"))) {
      if (mountPoint.startsWith(this.root)) unmount(mountPoint, { lazily: true });
    }
    this.#folder[Symbol.dispose]();
  }
}

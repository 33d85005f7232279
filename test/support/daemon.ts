/**
 * The compiled daemon, as a test or the demo runs it: in a folder of its own.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { unmount } from "../../ffi/mount.ts";
import { mountsBelow } from "../../scripts/lib/leftovers.ts";
import { type Service, runCommand, startService, waitUntil } from "../../scripts/lib/process.ts";
import { noteDeath } from "../../scripts/lib/deaths.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { ControlClient } from "../../src/ondemand/control-client.ts";
import { socketPaths } from "../../src/ondemand/sockets.ts";
import type { RequestedCompression } from "../../src/mount/probe-compression.ts";
import type { NodeStatistics } from "../../src/http/statistics.ts";
import { endOnDemandProcesses } from "./ondemand/processes.ts";
import { canConnect } from "./socket.ts";

export type MountMethod = "auto" | "file" | "loop";

export interface DaemonOptions {
  readonly method?: MountMethod;
  readonly compression?: RequestedCompression;
  /** How long a layer that nobody uses stays mounted. */
  readonly idleTimeoutMs?: number;
  readonly chunkSizeBytes?: number;
  readonly logLevel?: string;
  /** The containerd that does what the daemon leaves to it. */
  readonly containerd?: { readonly address: string; readonly root: string };
  /** False: all layers are left to it. */
  readonly appliesLayers?: boolean;
  /** False: none is built before it is applied. */
  readonly appliesEarly?: boolean;
  /** The mkfs.erofs that writes the images, a name or a path; undefined: the daemon does. */
  readonly mkfsPath?: string | undefined;
  /** How long after a deletion mostly dead bundles are looked for. */
  readonly compactionDelayMs?: number;
  /** Of work in the background. */
  readonly bytesPerSecond?: number;
  /** The folder of traces that may be named. */
  readonly traceFolder?: string;
  /** Who tells what is read of lazy layers; `auto` where it is left out. */
  readonly lazyBackend?: "auto" | "fanotify" | "fuse" | "eager";
  /** Whether what nobody has asked for is fetched, too. */
  readonly lazyBackground?: "on" | "off" | "idle";
  /** Whether what lazy layers need runs before the first comes; false where it is left out. */
  readonly standby?: boolean;
}

const logShownBytesMax = 4000;

function maintenanceOf({ compactionDelayMs, bytesPerSecond }: DaemonOptions): object {
  return {
    ...(compactionDelayMs !== undefined && { compaction_delay_ms: compactionDelayMs }),
    ...(bytesPerSecond !== undefined && { bytes_per_second: bytesPerSecond }),
  };
}

function lazyOf({ lazyBackend, lazyBackground, standby = false }: DaemonOptions): object {
  return {
    standby,
    ...(lazyBackend !== undefined && { backend: lazyBackend }),
    ...(lazyBackground !== undefined && { background: lazyBackground }),
  };
}

function configText(options: DaemonOptions): string {
  return JSON.stringify({
    maintenance: maintenanceOf(options),
    api: { address: "127.0.0.1:0" },
    mount: { method: options.method ?? "auto", idle_timeout_ms: options.idleTimeoutMs ?? 100 },
    compression: options.compression ?? "auto",
    ...(options.chunkSizeBytes === undefined ? {} : { chunk_size: options.chunkSizeBytes }),
    conversion: { enabled: true },
    lazy: lazyOf(options),
    prefetch: { trace_dir: options.traceFolder ?? null },
    diff: { enabled: options.appliesLayers ?? true, early: options.appliesEarly ?? true },
    erofs: options.mkfsPath === undefined ? {} : { builder: "mkfs", mkfs_path: options.mkfsPath },
    ...(options.containerd === undefined ? {} : { containerd: options.containerd }),
  });
}

export class TestDaemon implements AsyncDisposable {
  readonly root: string;
  readonly socket: string;
  readonly logFile: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #config: string;
  #service: Service | undefined;

  private constructor(folder: string, options: DaemonOptions) {
    this.#config = join(folder, "config.json");
    this.root = join(folder, "root");
    this.socket = join(folder, "s.sock");
    this.logFile = join(folder, "daemon.log");
    mkdirSync(folder, { recursive: true });
    this.configure(options);
    this.#environment = {
      ROOT: this.root,
      ADDRESS: this.socket,
      CONFIG: this.#config,
      LOG_LEVEL: options.logLevel ?? "debug",
      // As in the unit of the README.
      BUN_JSC_useFTLJIT: "0",
    };
  }

  /** Starts a daemon that keeps everything in `folder`; resolves when it accepts connections. */
  static async start(folder: string, options: DaemonOptions = {}): Promise<TestDaemon> {
    const daemon = new TestDaemon(folder, options);
    await daemon.start();
    return daemon;
  }

  get #apiAddress(): string {
    return join(this.root, "api.address");
  }

  get pid(): number {
    if (this.#service === undefined) throw new Error("the daemon does not run");
    return this.#service.pid;
  }

  /** How it is started the next time. */
  configure(options: DaemonOptions): void {
    writeFileSync(this.#config, configText(options));
  }

  /** Starts it again after `stop` or `kill`. @param program default: as it was built */
  async start(program = binaryFile): Promise<void> {
    if (this.#service !== undefined) throw new Error("the daemon runs already");
    // One that was killed has left it.
    rmSync(this.#apiAddress, { force: true });
    const service = startService([program, "serve"], this.logFile, {
      cwd: "/",
      env: this.#environment,
    });
    this.#service = service;
    let exitCode: number | undefined;
    void service.exited.then((code) => {
      exitCode = code;
      if (this.#service === service) noteDeath(`the daemon exited with ${code}\n${this.logEnd()}`);
    });
    const isReady = async () => {
      if (exitCode !== undefined) {
        this.#service = undefined;
        throw new Error(`the daemon exited with ${exitCode}\n${this.logEnd()}`);
      }
      return existsSync(this.#apiAddress) && (await canConnect(this.socket));
    };
    await waitUntil(isReady, "no connection to the daemon");
  }

  /** The last lines of the log, for messages. */
  logEnd(): string {
    return readFileSync(this.logFile, "utf8").slice(-logShownBytesMax);
  }

  /** SIGTERM, which it has to answer with exit code 0, before the time is over. */
  async stop(graceMs?: number): Promise<void> {
    const service = this.#service;
    this.#service = undefined;
    const exitCode = await service?.stop(graceMs);
    if (exitCode !== undefined && exitCode !== 0) {
      throw new Error(`the daemon exited with ${exitCode}\n${this.logEnd()}`);
    }
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const service = this.#service;
    this.#service = undefined;
    await service?.kill();
  }

  /** Its dedupd, whichever process that is when it is asked. */
  get dedupd(): ControlClient {
    return new ControlClient(socketPaths(this.socket).dedupd);
  }

  /** `GET /stats` of the admin API. */
  stats(): Promise<NodeStatistics> {
    return this.ask("GET", "/stats");
  }

  /** A request to the admin API, which has to grant it. */
  async ask<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const address = readFileSync(this.#apiAddress, "utf8").trim();
    const content = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(`http://${address}${path}`, { method, ...content });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
    return JSON.parse(text) as Answer;
  }

  /** Runs a command of the same executable against this daemon's root; resolves with its output. */
  cli(...parameters: readonly string[]): Promise<string> {
    return runCommand([binaryFile, ...parameters], { cwd: "/", env: this.#environment });
  }

  /** The messages of all log lines so far. */
  logMessages(): string[] {
    return readFileSync(this.logFile, "utf8")
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => String((JSON.parse(line) as { readonly msg?: unknown }).msg));
  }

  /** How many layers the log says were made images; at level `info` or below. */
  loggedConversions(): number {
    const start = "successfully auto-converted layer";
    return this.logMessages().filter((message) => message.startsWith(start)).length;
  }

  /** Unmounts the layers that a killed daemon has left mounted. */
  unmountLayers(): void {
    const mounts = join(this.root, "mounts");
    for (const id of readdirSync(mounts)) unmount(join(mounts, id));
  }

  /** What is in the folders of the root: nothing, once all snapshots are gone. */
  leftovers(): string[] {
    return ["packs", "images", "mounts", "snapshots"].flatMap((name) =>
      readdirSync(join(this.root, name)),
    );
  }

  /** Ends the processes that outlive it as well, and unmounts what they served. */
  async endAll(): Promise<void> {
    await this.kill();
    await endOnDemandProcesses(dirname(this.socket));
    for (const path of mountsBelow(join(this.root, "lazy"))) unmount(path, { lazily: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.endAll();
  }
}

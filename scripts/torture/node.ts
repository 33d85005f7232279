/**
 * The processes that serve lazy layers, as an adversary sees them: real dedupd and keeper, under
 * the real supervisor in the place of `serve`.
 *
 * @module
 */
import { mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unmount } from "../../ffi/mount.ts";
import type { Fault } from "../../src/util/failpoint.ts";
import type { BackendName } from "../../src/ondemand/contract.ts";
import { ControlClient } from "../../src/ondemand/control-client.ts";
import type { DedupdStatus } from "../../src/ondemand/control.ts";
import { KeeperConnection, type KeeperHolds } from "../../src/ondemand/keeper-connection.ts";
import { socketPaths } from "../../src/ondemand/sockets.ts";
import { endOnDemandProcesses } from "../../test/support/ondemand/processes.ts";
import { mountsBelow } from "../lib/leftovers.ts";
import { type Service, startService, waitUntil } from "../lib/process.ts";

/** Longer than anything that is done to the node lasts. */
export const readTimeoutMs = 120_000;

export interface NodeOptions {
  /** Of the layers; may be on another file system. */
  readonly root: string;
  readonly backend: Exclude<BackendName, "eager">;
  /** What it does wrong. */
  readonly fault: Fault | undefined;
}

export class TortureNode implements AsyncDisposable {
  readonly #folder: string;
  readonly root: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #sockets: ReturnType<typeof socketPaths>;
  readonly control: ControlClient;
  /** Says at which failpoint dedupd dies; gone when it did. */
  readonly failpointFile: string;
  readonly logFile: string;
  #serve: Service | undefined;

  /** @param folder in a short path */
  constructor(folder: string, { root, backend, fault }: NodeOptions) {
    this.#folder = folder;
    this.root = root;
    const address = join(folder, "s.sock");
    this.#sockets = socketPaths(address);
    this.control = new ControlClient(this.#sockets.dedupd);
    this.failpointFile = join(folder, "failpoint");
    this.logFile = join(folder, "log");
    mkdirSync(join(root, "packs"), { recursive: true });
    const config = join(folder, "config.json");
    const lazy = { backend, background: "off", read_timeout_ms: readTimeoutMs };
    writeFileSync(config, JSON.stringify({ root, address, log_level: "info", lazy }));
    this.#environment = {
      CONFIG: config,
      DOCKER_CONFIG: folder,
      DEDUP_FAILPOINT: `@${this.failpointFile}`,
      DEDUP_FAULT: fault ?? "",
    };
  }

  /** @param packIds what it is to have exposed that was not exposed before */
  startServe(packIds: readonly number[] = []): void {
    const script = join(import.meta.dir, "supervising.ts");
    const command = [process.execPath, script, ...packIds.map(String)];
    this.#serve = startService(command, this.logFile, { cwd: "/", env: this.#environment });
  }

  async killServe(): Promise<void> {
    await this.#serve?.kill();
  }

  /** Resolves when a dedupd answers that is not that one. */
  async dedupd(otherThan = 0): Promise<DedupdStatus> {
    let status: DedupdStatus | undefined;
    await waitUntil(async () => {
      status = await this.control.status({ timeoutMs: 5_000 }).catch(() => undefined);
      return status !== undefined && status.pid !== otherThan;
    }, "no dedupd answers");
    return status as DedupdStatus;
  }

  /** Resolves when all three run, and each has the channel. @returns the keeper's PID */
  async settled(): Promise<number> {
    let keeper = 0;
    await waitUntil(async () => {
      const holds = await this.#keeper();
      const targets = holds?.channels.map(({ target }) => target) ?? [];
      keeper = targets.length > 0 ? (holds?.pid ?? 0) : 0;
      return keeper > 0 && targets.every((target) => openFiles(this.servePid).includes(target));
    }, "the channel is not held by all");
    return keeper;
  }

  get servePid(): number {
    return this.#serve?.pid ?? 0;
  }

  async #keeper(): Promise<KeeperHolds | undefined> {
    const connection = await KeeperConnection.open(this.#sockets.keeper).catch(() => undefined);
    const holds = await connection?.ask({ do: "list" }).catch(() => undefined);
    connection?.close();
    return holds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killServe();
    await endOnDemandProcesses(this.#folder);
    for (const path of mountsBelow(join(this.root, "lazy"))) unmount(path, { lazily: true });
    rmSync(this.failpointFile, { force: true });
  }
}

/** What a process has open, in the words of /proc. */
export function openFiles(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).flatMap((name) => {
      try {
        return [readlinkSync(join(folder, name))];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}

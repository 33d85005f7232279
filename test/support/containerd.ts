/**
 * A containerd of the test's own, and what tests do with it through `ctr`.
 *
 * @module
 */
import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { releaseBelow } from "../../scripts/lib/leftovers.ts";
import {
  type CommandResult,
  CommandError,
  type Service,
  runCommand,
  startService,
  tryCommand,
  waitUntil,
} from "../../scripts/lib/process.ts";
import type { ContainerdPaths, Flavour } from "./containerd-flavours.ts";

/** Runtime files that runc, shims and `ctr` share on a machine, whoever started them. */
const runtimeFolder = "/run/containerd";

function logOf({ root }: ContainerdPaths): string {
  return join(dirname(root), "log");
}

function startContainerd(command: readonly string[], paths: ContainerdPaths): Service {
  return startService(command, logOf(paths), { env: { NO_PROXY: "127.0.0.1" } });
}

export interface RunOptions {
  readonly snapshotter?: string;
  /** Keeps the container, with its snapshot, after the command has ended. */
  readonly keep?: boolean;
}

export interface MountedSnapshot extends AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  /** Unmounts it and makes a committed snapshot of it. */
  commit(name: string): Promise<void>;
}

export class Containerd implements AsyncDisposable {
  readonly paths: ContainerdPaths;
  readonly #flavour: Flavour;
  #service: Service;
  #isStopped = false;
  readonly #hadRuntimeFolder: boolean;

  private constructor(
    flavour: Flavour,
    paths: ContainerdPaths,
    service: Service,
    hadRuntimeFolder: boolean,
  ) {
    this.#flavour = flavour;
    this.paths = paths;
    this.#service = service;
    this.#hadRuntimeFolder = hadRuntimeFolder;
  }

  /**
   * To be started before the daemon, because the shared folder may become a mount of its own.
   *
   * @param shared folder of the whole test
   * @param snapshotter socket of the daemon; containerd connects to it when it needs it
   */
  static async start(flavour: Flavour, shared: string, snapshotter: string): Promise<Containerd> {
    const folder = join(shared, "c");
    mkdirSync(folder, { recursive: true });
    const paths = {
      shared,
      root: join(folder, "root"),
      state: join(folder, "state"),
      socket: join(folder, "c.sock"),
      configFile: join(folder, "config.toml"),
      snapshotter,
    };
    const hadRuntimeFolder = existsSync(runtimeFolder);
    await flavour.prepare(paths);
    writeFileSync(paths.configFile, flavour.config(paths));
    const service = startContainerd(flavour.command(paths), paths);
    const containerd = new Containerd(flavour, paths, service, hadRuntimeFolder);
    await containerd.#answers();
    return containerd;
  }

  /** SIGKILL, and another one in the same mount namespace; containers go on meanwhile. */
  async killAndStart(): Promise<void> {
    const namespace = openSync(`/proc/${this.pid}/ns/mnt`, "r");
    try {
      this.#service.signal("SIGKILL");
      await this.#service.exited;
      const enter = ["nsenter", `--mount=/proc/${process.pid}/fd/${namespace}`];
      const command = [...enter, "containerd", "--config", this.paths.configFile];
      this.#service = startContainerd(command, this.paths);
      await this.#answers();
    } finally {
      closeSync(namespace);
    }
  }

  async #answers(): Promise<void> {
    const answers = async () => (await this.tryCtr("version")).exitCode === 0;
    await waitUntil(answers, `${this.#flavour.name} does not answer, see ${logOf(this.paths)}`);
  }

  /** In whose mount namespace containers, and the mounts `ctr` makes, are. */
  get pid(): number {
    return this.#service.pid;
  }

  /** How `ctr` is run. */
  ctrCommand(...parameters: readonly string[]): readonly string[] {
    const enter = this.#flavour.enter(this.#service.pid);
    return [...enter, "ctr", "--address", this.paths.socket, ...parameters];
  }

  /** Runs `ctr`, whatever its exit code is. */
  tryCtr(...parameters: readonly string[]): Promise<CommandResult> {
    return tryCommand(this.ctrCommand(...parameters));
  }

  /** Runs `ctr`, which has to succeed; resolves with its standard output. */
  async ctr(...parameters: readonly string[]): Promise<string> {
    const result = await this.tryCtr(...parameters);
    if (result.exitCode === 0) return result.stdout;
    const command = [this.#flavour.name, "ctr", ...parameters];
    throw new CommandError(command, result.exitCode, result.stdout + result.stderr);
  }

  async pull(reference: string, snapshotter = "dedup"): Promise<void> {
    await this.ctr("image", "pull", "--plain-http", "--snapshotter", snapshotter, reference);
  }

  /** Removes images and waits until their snapshots and blobs are collected. */
  async removeImages(...references: readonly string[]): Promise<void> {
    await this.ctr("image", "rm", "--sync", ...references);
  }

  /**
   * Makes containerd remove from the snapshotter what it has forgotten itself. It does so now and
   * then; at once only when a lease is deleted with `--sync`.
   */
  async collectGarbage(): Promise<void> {
    const lease = (await this.ctr("leases", "create")).trim();
    await this.ctr("leases", "delete", "--sync", lease);
  }

  /** Runs a command in a new container to its end; resolves with its output. */
  run(
    reference: string,
    id: string,
    command: readonly string[],
    { snapshotter = "dedup", keep = false }: RunOptions = {},
  ): Promise<string> {
    const flags = ["--snapshotter", snapshotter, ...(keep ? [] : ["--rm"])];
    return this.ctr("run", ...flags, reference, id, ...command);
  }

  /** Starts a container that runs until `removeContainer`. */
  async runDetached(reference: string, id: string, command: readonly string[]): Promise<void> {
    await this.ctr("run", "--detach", "--snapshotter", "dedup", reference, id, ...command);
  }

  /** The PID of a container's first process, on this machine. */
  async pidOf(id: string): Promise<number> {
    const tasks = (await this.ctr("task", "ls")).split("\n").map((line) => line.split(/\s+/));
    return Number(tasks.find(([name]) => name === id)?.[1]);
  }

  exec(id: string, execId: string, command: readonly string[]): Promise<string> {
    return this.ctr("task", "exec", "--exec-id", execId, id, ...command);
  }

  /** Ends the container if it runs, and removes it with its snapshot. */
  async removeContainer(id: string): Promise<void> {
    await this.tryCtr("task", "rm", "--force", id);
    await this.ctr("container", "rm", id);
  }

  /** The snapshots of our snapshotter: key, parent and kind in one line each. */
  async snapshots(): Promise<string[]> {
    const table = await this.ctr("snapshots", "--snapshotter", "dedup", "ls");
    return table.trimEnd().split("\n").slice(1);
  }

  /**
   * Prepares a snapshot on a committed one and mounts it on this machine; both are undone when
   * disposed. (A view would do to read, but containerd collects those of `ctr` as garbage.)
   */
  async mountOn(parent: string, snapshotter = "dedup"): Promise<MountedSnapshot> {
    const key = `mounted-${crypto.randomUUID()}`;
    const path = join(this.paths.shared, key);
    const snapshots = ["snapshots", "--snapshotter", snapshotter];
    mkdirSync(path);
    await this.ctr(...snapshots, "prepare", key, parent);
    await runCommand(["sh", "-c", await this.ctr(...snapshots, "mounts", path, key)]);
    let isMounted = true;
    const unmount = async () => {
      if (!isMounted) return;
      isMounted = false;
      await runCommand(["umount", path]);
      rmSync(path, { recursive: true });
    };
    return {
      path,
      commit: async (name) => {
        await unmount();
        await this.ctr(...snapshots, "commit", name, key);
      },
      [Symbol.asyncDispose]: async () => {
        await unmount();
        // Fails where it was committed.
        await this.tryCtr(...snapshots, "rm", key);
      },
    };
  }

  /** Ends all containers and containerd; leaves no process, mount or folder of theirs. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    const tasks = await this.tryCtr("task", "ls", "--quiet");
    for (const id of tasks.stdout.split("\n").filter((line) => line !== "")) {
      await this.tryCtr("task", "rm", "--force", id);
    }
    await this.#service.stop();
    await releaseBelow(join(this.paths.shared, "c"));
    await this.#flavour.release(this.paths);
    if (!this.#hadRuntimeFolder) rmSync(runtimeFolder, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

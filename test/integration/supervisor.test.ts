/**
 * dedupd and the keeper under a supervisor: processes of their own that are found, started again,
 * replaced and ended. dedupd is a stand-in here, with a channel that tells when it was closed.
 */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { findLeftovers, releaseBelow } from "../../scripts/lib/leftovers.ts";
import { type Service, startService, waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { ControlClient } from "../../src/ondemand/control-client.ts";
import type { DedupdStatus } from "../../src/ondemand/control.ts";
import { KeeperConnection } from "../../src/ondemand/keeper-connection.ts";
import { socketPaths } from "../../src/ondemand/sockets.ts";
import type { Supervisor } from "../../src/ondemand/supervisor.ts";
import { ChannelProbe } from "../support/ondemand/channel.ts";
import { endStartedKeepers } from "../support/ondemand/keeper.ts";
import { openTestSupervisor, type SupervisionOptions } from "../support/ondemand/supervision.ts";
import { Picker } from "../support/picker.ts";

const seed = process.env["DEDUP_SEED"] ?? String(Date.now());
const kills = 15;
const patienceMs = 20_000;

class Scene implements AsyncDisposable {
  readonly #folder = scratchFolder("supervisor");
  readonly address = join(this.#folder.path, "s.sock");
  readonly fifo = join(this.#folder.path, "fifo");
  readonly control = new ControlClient(socketPaths(this.address).dedupd);
  readonly #supervisors: Supervisor[] = [];

  channel(): Promise<ChannelProbe> {
    return ChannelProbe.create(this.fifo);
  }

  supervisor(options: Partial<SupervisionOptions> = {}): Supervisor {
    const { address, fifo } = this;
    const supervisor = openTestSupervisor({ address, fifo, ...options });
    this.#supervisors.push(supervisor);
    return supervisor;
  }

  /** A supervisor in a process of its own, to be killed. */
  startSupervisor(): Service {
    const script = join(import.meta.dir, "..", "support", "ondemand", "supervision.ts");
    const command = [process.execPath, script, this.address, this.fifo];
    return startService(command, join(this.#folder.path, "log"));
  }

  /** Resolves when another dedupd than that one answers. */
  async dedupd(otherThan = 0): Promise<DedupdStatus> {
    let status: DedupdStatus | undefined;
    await waitUntil(async () => {
      status = await this.control.status().catch(() => undefined);
      return status !== undefined && status.pid !== otherThan;
    }, "no dedupd");
    return status as DedupdStatus;
  }

  /** Resolves when another keeper than that one has the channel. */
  async keeperPid(otherThan = 0): Promise<number> {
    let pid = 0;
    await waitUntil(async () => {
      const { keeper } = socketPaths(this.address);
      const connection = await KeeperConnection.open(keeper).catch(() => undefined);
      const holds = await connection?.ask({ do: "list" }).catch(() => undefined);
      connection?.close();
      pid = holds !== undefined && holds.channels.length > 0 ? holds.pid : 0;
      return pid > 0 && pid !== otherThan;
    }, "no keeper has the channel");
    return pid;
  }

  /** The processes that run for the scene. */
  processes(): string[] {
    return findLeftovers(this.#folder.path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const supervisor of this.#supervisors) await supervisor.close();
    await endStartedKeepers();
    // dedupd may have started another keeper while it was killed itself.
    while ((await releaseBelow(this.#folder.path)).length > 0);
    this.#folder[Symbol.dispose]();
  }
}

describe("Supervisor", () => {
  test("starts nothing before it is asked to", async () => {
    await using scene = new Scene();
    using _ = await scene.channel();
    const supervisor = scene.supervisor();
    await supervisor.find();
    expect(scene.processes()).toEqual([]);
    supervisor.start();
    await supervisor.running(patienceMs);
    // dedupd starts a keeper as well if it finds none, and the second of them ends at once.
    await waitUntil(() => scene.processes().length === 2, "not dedupd and one keeper");
  });

  test("leaves both processes to the next one, which finds them", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const first = scene.supervisor();
    first.start();
    await first.running(patienceMs);
    const { pid } = await scene.dedupd();
    const keeper = await scene.keeperPid();
    await first.close();
    const second = scene.supervisor();
    await second.find();
    await second.running(patienceMs);
    expect((await scene.dedupd()).pid).toBe(pid);
    expect(await scene.keeperPid()).toBe(keeper);
    expect(channel.isHeld()).toBe(true);
  });

  test("ends both where nothing is exposed", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const supervisor = scene.supervisor({ packs: 0 });
    supervisor.start();
    await supervisor.running(patienceMs);
    await supervisor.close();
    await waitUntil(() => scene.processes().length === 0, "a process is left");
    // What it had open goes after the name by which the process is found.
    await waitUntil(() => !channel.isHeld(), "somebody has the channel");
  });

  test("replaces a dedupd of another generation, which takes the channel over", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const first = scene.supervisor();
    first.start();
    await first.running(patienceMs);
    const old = await scene.dedupd();
    await first.close();
    const second = scene.supervisor({ generation: "second" });
    await second.find();
    await second.running(patienceMs);
    const now = await scene.dedupd(old.pid);
    expect([...old.backendReasons, ...now.backendReasons]).toEqual(["opened", "adopted"]);
    expect(channel.isHeld()).toBe(true);
  });

  test(`or another is killed ${kills} times, and the channel stays (seed ${seed})`, async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const picker = new Picker(seed);
    let serve = scene.startSupervisor();
    let origin = "opened";
    for (let kill = 1; kill <= kills; kill++) {
      const { pid } = await scene.dedupd();
      const keeper = await scene.keeperPid();
      await Bun.sleep(picker.integer(20));
      const victim = picker.integer(4);
      if (victim === 1) process.kill(keeper, "SIGKILL");
      if (victim !== 1) process.kill(pid, "SIGKILL");
      if (victim !== 1) origin = "adopted";
      if (victim === 2) {
        await serve.kill();
        serve = scene.startSupervisor();
      }
      const now = victim === 1 ? await scene.dedupd() : await scene.dedupd(pid);
      await scene.keeperPid(victim === 1 ? keeper : 0);
      expect(now.backendReasons).toEqual([origin]);
      expect(channel.isHeld()).toBe(true);
    }
    await serve.kill();
  }, 60_000);

  test("holds the channel when both are killed together", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const supervisor = scene.supervisor();
    supervisor.start();
    await supervisor.running(patienceMs);
    const { pid } = await scene.dedupd();
    const keeper = await scene.keeperPid();
    process.kill(keeper, "SIGKILL");
    process.kill(pid, "SIGKILL");
    const now = await scene.dedupd(pid);
    expect(now.backendReasons).toEqual(["adopted"]);
    expect(channel.isHeld()).toBe(true);
  });

  test("puts another one in the place of one that never ends to end", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const supervisor = scene.supervisor();
    supervisor.start();
    await supervisor.running(patienceMs);
    const { pid } = await scene.dedupd();
    process.kill(pid, "SIGUSR1");
    const now = await scene.dedupd(pid);
    expect(now.backendReasons).toEqual(["adopted"]);
    expect(channel.isHeld()).toBe(true);
  }, 30_000);
});

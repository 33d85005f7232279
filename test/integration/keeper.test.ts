/** The keeper as a process, its users as processes, and kill -9 for all of them but one at once. */
import { describe, expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { dirname, join } from "node:path";
import { findLeftovers } from "../../scripts/lib/leftovers.ts";
import { type Service, startService, waitUntil } from "../../scripts/lib/process.ts";
import { scratchFolder } from "../../scripts/lib/temp.ts";
import { close } from "../../ffi/file.ts";
import { expectedVariable } from "../../src/ondemand/channel-keeper.ts";
import type { KeeperClient } from "../../src/ondemand/keeper-client.ts";
import { KeeperConnection, shutdownKeeper } from "../../src/ondemand/keeper-connection.ts";
import { targetOf } from "../../src/ondemand/keeper-protocol.ts";
import { endStartedKeepers, openKeeperClient } from "../support/ondemand/keeper.ts";
import { startKeeper } from "../../src/ondemand/own-process.ts";
import { defined } from "../../src/util/assert.ts";
import { ChannelProbe } from "../support/ondemand/channel.ts";
import { Picker } from "../support/picker.ts";
import { rejection } from "../support/rejection.ts";

const seed = process.env["DEDUP_SEED"] ?? String(Date.now());
const kills = 20;

class Scene implements AsyncDisposable {
  readonly #folder = scratchFolder("keeper");
  readonly socketPath = join(this.#folder.path, "s-keeper.sock");
  readonly #clients: KeeperClient[] = [];
  readonly #owners: Service[] = [];
  readonly #log = join(this.#folder.path, "owner.log");

  channel(): Promise<ChannelProbe> {
    return ChannelProbe.create(join(this.#folder.path, "fifo"));
  }

  client(): KeeperClient {
    const { socketPath } = this;
    const client = openKeeperClient(socketPath);
    this.#clients.push(client);
    return client;
  }

  /** A client that has a channel kept, and does not have it open itself any more. */
  async keeping(channel: ChannelProbe): Promise<KeeperClient> {
    const client = this.client();
    const fd = channel.openChannel();
    await client.keep("fifo", fd);
    closeSync(fd);
    return client;
  }

  /** Starts a process that takes the channel over; resolves when the keeper has it (again). */
  async owner(path: string, expected = ""): Promise<Service> {
    const script = join(import.meta.dir, "..", "support", "ondemand", "channel-owner.ts");
    const before = (await this.ownerLines()).length;
    const command = [process.execPath, script, this.socketPath, path];
    const service = startService(command, this.#log, { env: { [expectedVariable]: expected } });
    this.#owners.push(service);
    await waitUntil(async () => (await this.ownerLines()).length > before, "no owner");
    return service;
  }

  /** What the owners said, one after the other. */
  async ownerLines(): Promise<string[]> {
    const log = Bun.file(this.#log);
    return (await log.exists()) ? (await log.text()).split("\n").slice(0, -1) : [];
  }

  /** The process, and the names of what it holds; undefined where there is none. */
  async keeper(): Promise<{ pid: number; names: string[] } | undefined> {
    const connection = await KeeperConnection.open(this.socketPath).catch(() => undefined);
    if (connection === undefined) return undefined;
    const holds = await connection.ask({ do: "list" }).catch(() => undefined);
    connection.close();
    return holds && { pid: holds.pid, names: holds.channels.map(({ name }) => name) };
  }

  async pid(): Promise<number> {
    return (await this.keeper())?.pid ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const owner of this.#owners) await owner.kill();
    for (const client of this.#clients) await client.close();
    await shutdownKeeper(this.socketPath);
    await endStartedKeepers();
    await waitUntil(() => findLeftovers(this.#folder.path).length === 0, "a process is left");
    this.#folder[Symbol.dispose]();
  }
}

describe("KeeperClient", () => {
  test("starts a keeper, which holds the channel when its owner closes it", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const owner = scene.client();
    expect(await owner.adopt("fifo")).toBeUndefined();
    const fd = channel.openChannel();
    await owner.keep("fifo", fd);
    closeSync(fd);
    await owner.close();
    expect(channel.isHeld()).toBe(true);
    const heir = scene.client();
    const adopted = await heir.adopt("fifo");
    expect(targetOf(adopted ?? 0)).toBe(channel.path);
    close(adopted ?? 0);
    await heir.close();
    await shutdownKeeper(scene.socketPath);
    await waitUntil(() => !channel.isHeld(), "somebody has the channel");
  });

  test("replaces a channel by another one of that name", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const client = await scene.keeping(channel);
    const other = targetOf(2);
    await client.keep("fifo", 2);
    expect(channel.isHeld()).toBe(false);
    const adopted = await client.adopt("fifo");
    expect(targetOf(adopted ?? 0)).toBe(other);
    close(adopted ?? 0);
  });

  test("holds the channels of others, and gives them to the next keeper", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const bystander = scene.client();
    const owner = await scene.owner(channel.path);
    await bystander.mirror();
    expect(bystander.mirrored()).toEqual(["fifo"]);
    const { pid } = defined(await scene.keeper(), "the keeper");
    process.kill(pid, "SIGKILL");
    await owner.kill();
    expect(channel.isHeld()).toBe(true);
    await scene.owner(channel.path, bystander.mirrored().join(","));
    expect(await scene.ownerLines()).toEqual(["opened", "adopted"]);
  });

  test("gives them to the next keeper also when it is closed just then", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const client = await scene.keeping(channel);
    process.kill(await scene.pid(), "SIGKILL");
    await client.close();
    expect(channel.isHeld()).toBe(true);
  });

  test("many at once start one keeper", async () => {
    await using scene = new Scene();
    const clients = Array.from({ length: 4 }, () => scene.client());
    await Promise.all(clients.map((client) => client.ready()));
    const pid = await scene.pid();
    const folder = dirname(scene.socketPath);
    await waitUntil(() => findLeftovers(folder).length === 1, "there are two keepers");
    expect(findLeftovers(folder)[0]).toStartWith(`process ${pid}:`);
  });
});

describe("the keeper", () => {
  test("ends where nobody connects to it, as when who started it has ended", async () => {
    await using scene = new Scene();
    await startKeeper(scene.socketPath).exited;
    expect(await scene.keeper()).toBeUndefined();
  });

  test("goes on at SIGTERM and its kin", async () => {
    await using scene = new Scene();
    await scene.client().ready();
    const pid = await scene.pid();
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.kill(pid, signal);
    expect(await scene.pid()).toBe(pid);
  });

  test("refuses what is not what its owner says it to be, and goes on", async () => {
    await using scene = new Scene();
    await scene.client().ready();
    const connection = await KeeperConnection.open(scene.socketPath);
    const request = { do: "keep", name: "fifo", pid: process.pid, fd: 0 } as const;
    const refused = await rejection(connection.ask({ ...request, target: "/dev/fuse" }));
    expect(String(refused)).toContain('not "/dev/fuse"');
    const odd = await rejection(connection.ask({ ...request, name: "a:b", target: "" }));
    expect(String(odd)).toContain("does not understand");
    expect((await connection.ask({ do: "list" })).channels).toEqual([]);
    connection.close();
  });

  test(`or its user is killed ${kills} times, and the channel stays (seed ${seed})`, async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const picker = new Picker(seed);
    let owner = await scene.owner(channel.path);
    for (let kill = 1; kill <= kills; kill++) {
      await Bun.sleep(picker.integer(20));
      if (picker.integer(2) === 0) {
        await owner.kill();
        expect(channel.isHeld()).toBe(true);
        owner = await scene.owner(channel.path);
      } else {
        const pid = await scene.pid();
        process.kill(pid, "SIGKILL");
        const isBack = async () => {
          const keeper = await scene.keeper();
          return keeper !== undefined && keeper.pid !== pid && keeper.names.includes("fifo");
        };
        await waitUntil(isBack, "no new keeper has the channel");
      }
      expect(channel.isHeld()).toBe(true);
    }
    await owner.kill();
    const [first, ...others] = await scene.ownerLines();
    expect(first).toBe("opened");
    expect(new Set(others)).toEqual(new Set(["adopted"]));
  }, 60_000);
});

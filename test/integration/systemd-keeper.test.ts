/** systemd's fd store in the place of the keeper, with a stand-in for systemd. */
import { describe, expect, test } from "bun:test";
import { closeSync, existsSync } from "node:fs";
import { join } from "node:path";
import { type Service, waitUntil } from "../../scripts/lib/process.ts";
import { type ScratchFolder, scratchFolder } from "../../scripts/lib/temp.ts";
import { canConnect } from "../support/socket.ts";
import { openKeeperClient } from "../support/ondemand/keeper.ts";
import { ChannelProbe } from "../support/ondemand/channel.ts";
import { startServiceManager } from "../support/ondemand/service-manager.ts";

const ownerScript = join(import.meta.dir, "..", "support", "ondemand", "channel-owner.ts");

class Scene implements AsyncDisposable {
  readonly #folder: ScratchFolder = scratchFolder("systemd");
  readonly socketPath = join(this.#folder.path, "s-keeper.sock");
  readonly #log = join(this.#folder.path, "log");
  #manager: Service | undefined;

  channel(): Promise<ChannelProbe> {
    return ChannelProbe.create(join(this.#folder.path, "fifo"));
  }

  async start(channel: ChannelProbe, address = "notify", ...mode: string[]): Promise<void> {
    const at = address.startsWith("@") ? address : join(this.#folder.path, address);
    const command = [process.execPath, ownerScript, this.socketPath, channel.path, ...mode];
    this.#manager = await startServiceManager(at, command, this.#log);
  }

  async lines(pattern: RegExp): Promise<string[]> {
    if (!existsSync(this.#log)) return [];
    return (await Bun.file(this.#log).text()).split("\n").filter((line) => pattern.test(line));
  }

  async waitFor(pattern: RegExp, count: number): Promise<string[]> {
    const wanted = `${count} lines like ${pattern.source}`;
    await waitUntil(async () => (await this.lines(pattern)).length >= count, `not ${wanted}`);
    return this.lines(pattern);
  }

  /** Kill -9 of the service, not of its manager. */
  async kill(): Promise<void> {
    const started = (await this.lines(/^started/)).at(-1) ?? "";
    process.kill(Number(started.split(" ")[1]), "SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#manager?.kill();
    this.#folder[Symbol.dispose]();
  }
}

describe("SystemdKeeper", () => {
  test("keeps the channel over kills, and no keeper is started", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    await scene.start(channel);
    for (let count = 1; count <= 3; count++) {
      const ready = await scene.waitFor(/^ready/, count);
      expect(ready.at(-1)).toBe("ready fifo.1");
      await scene.waitFor(/^(?:opened|adopted)$/, count);
      await scene.kill();
      expect(channel.isHeld()).toBe(true);
    }
    const owners = await scene.waitFor(/^(?:opened|adopted)$/, 4);
    expect(owners).toEqual(["opened", "adopted", "adopted", "adopted"]);
    expect(await canConnect(scene.socketPath)).toBe(false);
  });

  test("replaces a channel: the new one first", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    await scene.start(channel, `@dedup-test-${process.pid}`, "renew");
    for (let count = 1; count <= 3; count++) {
      const ready = await scene.waitFor(/^ready/, count);
      expect(ready.at(-1)).toBe(`ready fifo.${count}`);
      await scene.kill();
    }
  });

  test("takes over what a keeper of our own had, and ends it", async () => {
    await using scene = new Scene();
    using channel = await scene.channel();
    const { socketPath } = scene;
    const client = openKeeperClient(socketPath);
    const fd = channel.openChannel();
    await client.keep("fifo", fd);
    closeSync(fd);
    await client.close();
    await scene.start(channel);
    const [ready] = await scene.waitFor(/^ready/, 1);
    expect(ready).toBe("ready fifo.1");
    expect(await scene.waitFor(/^(?:opened|adopted)$/, 1)).toEqual(["adopted"]);
    await waitUntil(async () => !(await canConnect(socketPath)), "the keeper goes on");
    expect(channel.isHeld()).toBe(true);
  });
});

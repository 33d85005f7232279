/** The mount of the FUSE backend, from one process to the next. */
import { expect, test } from "bun:test";
import { symlinkSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { waitUntil } from "../../../scripts/lib/process.ts";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { createLogger } from "../../../src/log.ts";
import { openFuseBackend } from "../../../src/ondemand/fuse/backend.ts";
import { shutdownKeeper } from "../../../src/ondemand/keeper-connection.ts";
import { exposedMarkerPath } from "../../../src/store/paths.ts";
import { BackendFixture, run } from "../../support/ondemand/backend-fixture.ts";
import { OwnKeeper } from "../../support/ondemand/own-keeper.ts";
import { type ServingProcess, startServing } from "../../support/ondemand/serving.ts";
import { testPackId } from "../../support/ondemand/test-layer.ts";

/** proc_pid_stat(5): its name and whether it waits; empty where it is gone. */
function stateOf(pid: number): Promise<string> {
  return readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
}

/** Keeps the channel, and the mark on the disk, from one backend to the next. */
class Life implements AsyncDisposable {
  readonly fixture = new BackendFixture("fuse");
  readonly #keeper = new OwnKeeper();

  constructor() {
    writeFileSync(exposedMarkerPath({ packs: this.fixture.path("packs") }, testPackId), "");
  }

  open() {
    return openFuseBackend({
      root: this.fixture.root,
      demand: this.fixture.source.demand,
      keeper: this.#keeper,
      log: createLogger("silent"),
      threads: 1,
      reportSuspect: () => undefined,
      onCrash: (error) => {
        throw error;
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#keeper.die();
    await this.fixture.dispose();
  }
}

test("a FUSE mount stays when it is closed before its packs are exposed again", async () => {
  await using life = new Life();
  const { fixture } = life;
  const first = await life.open();
  fixture.mountAt(await first.expose(fixture.layer.pack), { method: "file", directIo: true });
  await first.close();
  await (await life.open()).close();
  const last = await life.open();
  await last.expose(fixture.layer.pack);
  expect(await fixture.read("small", "inOrder").report).toEqual(fixture.allRightOf("small"));
  await last.close();
});

test("who opens a pack right after a takeover waits until it is exposed again", async () => {
  await using life = new Life();
  const { fixture } = life;
  const first = await life.open();
  const path = await first.expose(fixture.layer.pack);
  await first.close();
  const second = await life.open();
  // Processes of their own: what waits in this one could be what the threads wait for.
  await run("stat", "--file-system", dirname(path));
  await using opening = Bun.spawn(["head", "--bytes=1", path], {
    stdout: "ignore",
    stderr: "ignore",
  });
  await waitUntil(async () => /\(head\) S|^$/.test(await stateOf(opening.pid)), "nobody waits");
  expect(await second.expose(fixture.layer.pack)).toBe(path);
  expect(await opening.exited).toBe(0);
  await second.close();
});

test("openFuseBackend() takes over the mount of a root that is a link", async () => {
  const fixture = new BackendFixture("fuse");
  using folder = scratchFolder("link");
  const root = join(folder.path, "root");
  symlinkSync(fixture.root, root);
  const keeperSocket = fixture.path("keeper.sock");
  const serving = [startServing({ backend: "fuse", root, keeperSocket })];
  try {
    const [first] = serving as [ServingProcess];
    fixture.mountAt(await first.path, { method: "file", directIo: true });
    const reading = fixture.read("large", "inOrder");
    await first.asked;
    await first.end("killed");
    const second = startServing({ backend: "fuse", root, keeperSocket });
    serving.push(second);
    second.release();
    expect(await reading.report).toEqual(fixture.allRightOf("large"));
  } finally {
    for (const process of serving) await process.end("killed");
    await shutdownKeeper(keeperSocket);
    await fixture.dispose();
  }
});

/**
 * What every backend must do, on a real kernel: a layer whose content lies in a lazy pack is
 * mounted and read in all the ways there are, while its source does all that sources do.
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { appendFile, readFile } from "node:fs/promises";
import { mountOverlay } from "../../../ffi/mount.ts";
import type { MountMode } from "../../../src/mount/contract.ts";
import type { BackendName } from "../../../src/ondemand/contract.ts";
import { shutdownKeeper } from "../../../src/ondemand/keeper-connection.ts";
import { BackendFixture, run } from "../../support/ondemand/backend-fixture.ts";
import { startServing } from "../../support/ondemand/serving.ts";
import { programName, testPackId } from "../../support/ondemand/test-layer.ts";
import { Picker } from "../../support/picker.ts";
import { rejection } from "../../support/rejection.ts";

export interface BackendTraits {
  readonly name: BackendName;
  /** How its files can be mounted. */
  readonly modes: readonly MountMode[];
  /** Readers wait for content; otherwise all of it has come when a pack is exposed. */
  readonly waitsForReads: boolean;
  /** Where all who hold the channel die at once, readers get errors; otherwise zeros. */
  readonly failsClosed: boolean;
}

export function describeBackend(traits: BackendTraits): void {
  for (const mode of traits.modes) {
    const how = `${mode.method}${mode.directIo ? ", direct I/O" : ""}`;
    describe(`${traits.name} backend, mounted by ${how}`, () => {
      describeReading(traits, mode);
      describeLife(traits, mode);
      if (!traits.waitsForReads) return;
      describeWaiting(traits, mode);
      if (mode.directIo) describeParallelReads(traits, mode);
      describeTakeover(traits, mode);
    });
  }
}

/** On a busy machine; what hangs, hangs for ever. */
setDefaultTimeout(30_000);

let fixture: BackendFixture;

function withFixture(name: BackendName): void {
  beforeEach(() => {
    fixture = new BackendFixture(name);
  });
  afterEach(() => fixture.dispose());
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function describeReading({ name }: BackendTraits, mode: MountMode): void {
  describe("gives every byte", () => {
    withFixture(name);

    test.each(["inOrder", "atRandom", "mapped"] as const)("read %s", async (way) => {
      await fixture.mount(mode);
      for (const file of fixture.layer.files.keys()) {
        expect(await fixture.read(file, way).report).toEqual(fixture.allRightOf(file));
      }
      expect(fixture.source.demands).not.toEqual([]);
    });

    test("to the kernel, of a program that runs", async () => {
      await fixture.mount(mode);
      // By a shell: who starts a program is stopped until the kernel has read it, and this process
      // has to deliver it.
      const command = `${fixture.mounted(programName)} ${fixture.mounted("large")}`;
      const output = await run("sh", "-c", `${command}; true`);
      expect(output).toStartWith(sha256(fixture.layer.files.get("large")!));
    });

    test("to overlayfs, of a file that is copied up", async () => {
      await fixture.mount(mode);
      const [upper, work, target] = ["upper", "work", "merged"].map((part) => fixture.path(part));
      for (const folder of [upper!, work!, target!]) mkdirSync(folder);
      mountOverlay({ lower: [fixture.path("mount")], upper: upper!, work: work!, target: target! });
      await appendFile(fixture.path("merged", "other"), "more");
      const wanted = Buffer.concat([fixture.layer.files.get("other")!, Buffer.from("more")]);
      expect((await readFile(fixture.path("upper", "other"))).equals(wanted)).toBe(true);
    });

    test("again, when the page cache was dropped", async () => {
      await fixture.mount(mode);
      const large = fixture.mounted("large");
      await fixture.read("large", "inOrder").report;
      const demandsCount = fixture.source.demands.length;
      await run("dd", `if=${large}`, "iflag=nocache", "count=0");
      expect(await fixture.read("large", "atRandom").report).toEqual(fixture.allRightOf("large"));
      expect(fixture.source.demands.length).toBe(demandsCount);
    });

    test("with direct I/O, where the kernel has that", async () => {
      await fixture.mount(mode);
      const copy = fixture.path("copy");
      const paths = [`if=${fixture.mounted("large")}`, `of=${copy}`];
      const outcome = await run("dd", ...paths, "iflag=direct", "bs=64K");
      if (outcome !== "") return;
      expect((await readFile(copy)).equals(fixture.layer.files.get("large")!)).toBe(true);
    });

    test("of the pack itself, and zeros between its files", async () => {
      const exposed = await (await fixture.backend()).expose(fixture.layer.pack);
      const { content, pack } = fixture.layer;
      const behind = `skip=${content.length / 4096}`;
      const rest = await run("dd", `if=${exposed}`, "bs=4096", behind, "count=16");
      expect(rest).toBe("\0".repeat(16 * 4096));
      const copy = fixture.path("copy");
      await run("dd", `if=${exposed}`, `of=${copy}`, "bs=1M", `count=${2 ** 3}`);
      const copied = await readFile(copy);
      expect(copied.subarray(0, content.length).equals(content)).toBe(true);
      expect(pack.presence.isComplete).toBe(true);
    });
  });
}

function describeLife({ name }: BackendTraits, mode: MountMode): void {
  describe("over the life of a pack", () => {
    withFixture(name);

    test("asks nobody for what is there", async () => {
      const exposed = await (await fixture.backend()).expose(fixture.layer.pack);
      fixture.source.fill();
      fixture.source.demands.length = 0;
      fixture.source.behave(fixture.source.fail);
      fixture.mountAt(exposed, mode);
      expect(await fixture.read("large", "atRandom").report).toEqual(fixture.allRightOf("large"));
      expect(fixture.source.demands).toEqual([]);
    });

    test("exposes twice as once", async () => {
      const backend = await fixture.backend();
      const exposed = await fixture.mount(mode);
      expect(await backend.expose(fixture.layer.pack)).toBe(exposed);
      expect(await fixture.read("large", "inOrder").report).toEqual(fixture.allRightOf("large"));
    });

    test("exposes again what was withdrawn", async () => {
      const backend = await fixture.backend();
      await fixture.mount(mode);
      await fixture.read("small", "inOrder").report;
      fixture.unmount();
      await backend.withdraw(testPackId);
      await backend.withdraw(testPackId);
      await fixture.mount(mode);
      expect(await fixture.read("large", "inOrder").report).toEqual(fixture.allRightOf("large"));
    });

    test("reads on when the pack gets complete, and mounts it then", async () => {
      const backend = await fixture.backend();
      await fixture.mount(mode);
      expect(await fixture.read("small", "inOrder").report).toEqual(fixture.allRightOf("small"));
      fixture.source.fill();
      await backend.complete(fixture.layer.pack);
      fixture.source.behave(fixture.source.fail);
      expect(await fixture.read("large", "mapped").report).toEqual(fixture.allRightOf("large"));
      fixture.unmount();
      await fixture.mount(mode);
      expect(await fixture.read("other", "inOrder").report).toEqual(fixture.allRightOf("other"));
    });

    test("leaves no mount behind", async () => {
      await fixture.mount(mode);
      await fixture.read("small", "inOrder").report;
      fixture.unmount();
      await (await fixture.backend()).withdraw(testPackId);
      await fixture.close();
      expect(fixture.mountPoints()).toEqual([]);
      expect(existsSync(fixture.layer.pack.path)).toBe(true);
    });
  });
}

/** A loop device without direct I/O reads one thing after the other (drivers/block/loop.c). */
function describeParallelReads({ name }: BackendTraits, mode: MountMode): void {
  describe("while others wait", () => {
    withFixture(name);

    test("answers who reads what is there", async () => {
      await fixture.mount(mode);
      await fixture.read("small", "inOrder").report;
      const { asked, release } = fixture.source.hold();
      const waiting = Array.from({ length: 8 }, (_, seed) =>
        fixture.read("large", "atRandom", { seed: `${seed}` }),
      );
      await asked;
      await run("dd", `if=${fixture.mounted("small")}`, "iflag=nocache", "count=0");
      expect(await fixture.read("small", "inOrder").report).toEqual(fixture.allRightOf("small"));
      release();
      for (const { report } of waiting) expect(await report).toEqual(fixture.allRightOf("large"));
    });
  });
}

function describeWaiting({ name }: BackendTraits, mode: MountMode): void {
  describe("while readers wait", () => {
    withFixture(name);

    test("gives an error for what does not come, and then the content", async () => {
      await fixture.mount(mode);
      fixture.source.behave(fixture.source.fail);
      expect(await rejection(readFile(fixture.mounted("other")))).toMatchObject({ code: "EIO" });
      fixture.source.behave(() => Promise.resolve());
      expect(await fixture.read("other", "inOrder").report).toEqual(fixture.allRightOf("other"));
    });

    test("never gives wrong bytes to readers of a source that fails and dawdles", async () => {
      await fixture.mount(mode);
      const picker = new Picker(`${name} ${mode.method}`);
      fixture.source.behave(async () => {
        for (let turns = picker.integer(20); turns > 0; turns--) await immediate();
        if (picker.integer(4) === 0) await fixture.source.fail();
      });
      const readers = Array.from({ length: 8 }, (_, seed) =>
        fixture.read("large", seed < 2 ? "inOrder" : "atRandom", {
          seed: `${seed}`,
          failuresMax: 10_000,
        }),
      );
      const { bytes } = fixture.allRightOf("large");
      for (const { report } of readers)
        expect(await report).toMatchObject({ bytes, wrongReads: 0 });
    });

    test.each(["the layer", "the pack"])("lets a reader of %s be killed", async (what) => {
      const exposed = await fixture.mount(mode);
      const { asked, release } = fixture.source.hold();
      const path = what === "the pack" ? exposed : fixture.mounted("large");
      const child = Bun.spawn(["cat", path], { stdio: ["ignore", "ignore", "ignore"] });
      await asked;
      child.kill("SIGKILL");
      await child.exited;
      release();
      expect(await fixture.read("large", "inOrder").report).toEqual(fixture.allRightOf("large"));
    });

    test("is not disturbed by signals that end nobody", async () => {
      const { reader, copy, release } = await readerWithHarmlessSignal(mode);
      release();
      expect(await reader.exited).toBe(0);
      expect((await readFile(copy)).equals(fixture.layer.content.subarray(0, 65_536))).toBe(true);
    });

    test("lets a reader be killed that got a harmless signal before", async () => {
      const { reader, release } = await readerWithHarmlessSignal(mode);
      reader.kill("SIGKILL");
      await reader.exited;
      release();
    });
  });
}

/** It waits for the first bytes of the pack, and got a signal that it will handle later. */
async function readerWithHarmlessSignal(mode: MountMode) {
  const exposed = await fixture.mount(mode);
  await fixture.read("small", "inOrder").report;
  const { asked, release } = fixture.source.hold();
  const copy = fixture.path("copy");
  const command = ["dd", `if=${exposed}`, `of=${copy}`, "bs=64K", "count=1", "iflag=fullblock"];
  const reader = Bun.spawn(command, { stdio: ["ignore", "ignore", "ignore"] });
  await asked;
  // For dd a wish for its statistics.
  reader.kill("SIGUSR1");
  while (!hasSignalPending(reader.pid)) await immediate();
  // What is read after the signal is answered after the backend has heard of the signal.
  await run("dd", `if=${fixture.mounted("small")}`, "iflag=nocache", "count=0");
  await fixture.read("small", "inOrder").report;
  return { reader, copy, release };
}

function hasSignalPending(pid: number): boolean {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return /^(?:SigPnd|ShdPnd):\s*0*[1-9a-f]/m.test(status);
}

function describeTakeover({ name, failsClosed }: BackendTraits, mode: MountMode): void {
  describe("when its process ends", () => {
    withFixture(name);
    const serve = (keeperSocket: string | undefined) =>
      startServing({ backend: name, root: fixture.root, keeperSocket });

    test.each(["killed", "stopped"] as const)("and %s, the next one goes on", async (how) => {
      const socket = fixture.path("keeper.sock");
      const first = serve(socket);
      try {
        fixture.mountAt(await first.path, mode);
        const readers = (["inOrder", "atRandom", "mapped"] as const).map((way) =>
          fixture.read("large", way),
        );
        await first.asked;
        await first.end(how);
        const second = serve(socket);
        await second.asked;
        second.release();
        for (const { report } of readers) expect(await report).toEqual(fixture.allRightOf("large"));
        await second.end(how);

        const waiting = fixture.read("other", "inOrder");
        const third = serve(socket);
        third.release();
        expect(await waiting.report).toEqual(fixture.allRightOf("other"));
        await third.end(how);
      } finally {
        await shutdownKeeper(socket);
      }
    });

    if (!failsClosed) return;
    test("gives errors where nobody keeps the channel, and starts anew", async () => {
      const first = serve(undefined);
      fixture.mountAt(await first.path, mode);
      const reading = rejection(readFile(fixture.mounted("large")));
      await first.asked;
      await first.end("killed");
      expect(await reading).toMatchObject({ code: "EIO" });
      const second = serve(undefined);
      const exposed = await second.path;
      expect(await rejection(readFile(fixture.mounted("other")))).toMatchObject({ code: "EIO" });
      second.release();
      fixture.unmount();
      fixture.mountAt(exposed, mode);
      expect(await fixture.read("large", "inOrder").report).toEqual(fixture.allRightOf("large"));
      await second.end("killed");
    });
  });
}

function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

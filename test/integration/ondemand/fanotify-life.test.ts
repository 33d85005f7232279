/**
 * What only fanotify has: orphans of a process that died, files that were watched before they were
 * opened, packs that nobody watched, and no events of a pack that is complete.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { answerEvent, eventAt, readEvents, unwatchFile, watchFile } from "../../../ffi/fanotify.ts";
import { close } from "../../../ffi/file.ts";
import { mapFile, unmapFile, viewOf } from "../../../ffi/mapping.ts";
import { mountOverlay } from "../../../ffi/mount.ts";
import { Waiter } from "../../../ffi/wake.ts";
import { waitUntil } from "../../../scripts/lib/process.ts";
import { createLogger } from "../../../src/log.ts";
import type { LazyBackend } from "../../../src/ondemand/contract.ts";
import { openFanotifyBackend } from "../../../src/ondemand/fanotify/backend.ts";
import { openGroup, watchedInodes } from "../../../src/ondemand/fanotify/group.ts";
import { exposedMarkerPath } from "../../../src/store/paths.ts";
import { BackendFixture } from "../../support/ondemand/backend-fixture.ts";
import { OwnKeeper } from "../../support/ondemand/own-keeper.ts";
import { makeTestLayer, testPackId } from "../../support/ondemand/test-layer.ts";
import { rejection } from "../../support/rejection.ts";

const mode = { method: "file", directIo: true } as const;
const eventTimeoutMs = 10_000;
const log = createLogger("silent");

let fixture: BackendFixture;
let keeper: OwnKeeper;
let suspects: [packId: number, message: string][];
let backends: LazyBackend[];

beforeEach(() => {
  fixture = new BackendFixture("fanotify");
  keeper = new OwnKeeper();
  suspects = [];
  backends = [];
});

afterEach(async () => {
  for (const backend of backends) await backend.close();
  keeper.die();
  await fixture.dispose();
});

async function openBackend(root = fixture.root): Promise<LazyBackend> {
  const backend = await openFanotifyBackend({
    root,
    demand: fixture.source.demand,
    keeper,
    log,
    threads: 1,
    reportSuspect: (...report) => suspects.push(report),
    onCrash: (error) => {
      throw error;
    },
  });
  backends.push(backend);
  return backend;
}

function closeLast(): Promise<void> | undefined {
  return backends.pop()?.close();
}

function waitForEvent(group: number, buffer: Uint8Array): number {
  using waiter = new Waiter(group);
  waiter.wait(eventTimeoutMs);
  return readEvents(group, buffer);
}

function viewOfBytes(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Exposed and mounted; then all who had the group are gone, and `other` was read as zeros. */
async function readUnwatched(): Promise<void> {
  await (await openBackend()).expose(fixture.layer.pack);
  writeFileSync(exposedMarkerPath({ packs: fixture.path("packs") }, testPackId), "");
  fixture.mountAt(fixture.layer.pack.path, mode);
  await closeLast();
  keeper.die();
  const bytes = await readFile(fixture.mounted("other"));
  expect(bytes.equals(Buffer.alloc(bytes.length))).toBe(true);
}

/** How many this process has. */
function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

describe("a process that died", () => {
  test("between taking an event and looking at it leaves nobody behind", async () => {
    const group = await openGroup({ root: fixture.root, keeper, log });
    watchFile(group.fd, fixture.layer.pack.path);
    fixture.mountAt(fixture.layer.pack.path, mode);
    const reader = fixture.read("large", "inOrder");
    const area = group.journal.area(0);
    expect(waitForEvent(group.fd, area)).toBeGreaterThan(0);
    close(eventAt(viewOfBytes(area), 0)!.fd);
    for (const fd of [group.fd, group.lock]) close(fd);

    const backend = await openBackend();
    await backend.expose(fixture.layer.pack);
    expect(await reader.report).toEqual(fixture.allRightOf("large"));
  });

  test("between answering an event and forgetting it disturbs nobody", async () => {
    const group = await openGroup({ root: fixture.root, keeper, log });
    watchFile(group.fd, fixture.layer.pack.path);
    fixture.mountAt(fixture.layer.pack.path, mode);
    fixture.source.fill();
    const reading = readFile(fixture.mounted("small"));
    const area = group.journal.area(0);
    waitForEvent(group.fd, area);
    const { fd } = eventAt(viewOfBytes(area), 0)!;
    expect(answerEvent(group.fd, fd, 0)).toBe(true);
    expect(answerEvent(group.fd, fd, 0)).toBe(false);
    await reading;
    for (const each of [fd, group.fd, group.lock]) close(each);

    const backend = await openBackend();
    await backend.expose(fixture.layer.pack);
    expect(await fixture.read("large", "inOrder").report).toEqual(fixture.allRightOf("large"));
  });

  test("and whose journal is lost leaves nobody waiting", async () => {
    const group = await openGroup({ root: fixture.root, keeper, log });
    watchFile(group.fd, fixture.layer.pack.path);
    fixture.mountAt(fixture.layer.pack.path, mode);
    const reader = fixture.read("large", "inOrder", { failuresMax: 10 });
    const area = group.journal.area(0);
    waitForEvent(group.fd, area);
    for (const fd of [eventAt(viewOfBytes(area), 0)!.fd, group.fd, group.lock]) close(fd);
    rmSync(group.journalPath);

    await (await openBackend()).expose(fixture.layer.pack);
    const { bytes } = fixture.allRightOf("large");
    expect(await reader.report).toMatchObject({ bytes, wrongReads: 0 });
  });

  test("has its reads go on with the next one, which died as well, and the one after", async () => {
    const { asked } = fixture.source.hold();
    await (await openBackend()).expose(fixture.layer.pack);
    fixture.mountAt(fixture.layer.pack.path, mode);
    const reader = fixture.read("large", "atRandom");
    await asked;
    await closeLast();
    const again = fixture.source.hold();
    await (await openBackend()).expose(fixture.layer.pack);
    await again.asked;
    await closeLast();
    fixture.source.behave(() => Promise.resolve());
    await (await openBackend()).expose(fixture.layer.pack);
    expect(await reader.report).toEqual(fixture.allRightOf("large"));
    expect(suspects).toEqual([]);
  });
});

describe("a pack that cannot be exposed again", () => {
  test("is watched all the same, and read right when it can", async () => {
    await (await openBackend()).expose(fixture.layer.pack);
    fixture.mountAt(fixture.layer.pack.path, mode);
    await closeLast();
    const backend = await openBackend();
    const unreadable = openSync(fixture.layer.pack.path, constants.O_WRONLY);
    await rejection(backend.expose({ ...fixture.layer.pack, file: unreadable }));
    closeSync(unreadable);
    const group = (await keeper.adopt())!;
    expect([...watchedInodes(group)]).toEqual([statSync(fixture.layer.pack.path).ino]);
    close(group);
    await backend.expose(fixture.layer.pack);
    expect(await fixture.read("large", "inOrder").report).toEqual(fixture.allRightOf("large"));
  });
});

describe("a complete pack", () => {
  test("is watched until its content is on disk", async () => {
    fixture.source.fill();
    const backend = await openBackend();
    await backend.expose(fixture.layer.pack);
    const group = (await keeper.adopt())!;
    expect([...watchedInodes(group)]).toEqual([statSync(fixture.layer.pack.path).ino]);
    await backend.complete(fixture.layer.pack);
    expect([...watchedInodes(group)]).toEqual([]);
    close(group);
  });

  test("is read without an event, through the mount of before", async () => {
    const group = await openGroup({ root: fixture.root, keeper, log });
    const { path } = fixture.layer.pack;
    watchFile(group.fd, path);
    fixture.mountAt(path, mode);
    fixture.source.fill();
    unwatchFile(group.fd, path);
    unwatchFile(group.fd, path);
    expect(await fixture.read("large", "inOrder").report).toEqual(fixture.allRightOf("large"));
    expect(readEvents(group.fd, group.journal.area(0))).toBe(0);
    for (const fd of [group.fd, group.lock]) close(fd);
  });
});

describe("a pack that nobody watched", () => {
  test("is suspect, and read right from then on", async () => {
    await readUnwatched();
    const backend = await openBackend();
    expect(suspects.map(([packId]) => packId)).toEqual([testPackId]);
    await backend.expose(fixture.layer.pack);
    for (const file of fixture.layer.files.keys())
      expect(await fixture.read(file, "inOrder").report).toEqual(fixture.allRightOf(file));
    expect(backend.suspects?.()).toEqual([{ packId: testPackId, users: [], staleCachedPages: 0 }]);
    await backend.withdraw(testPackId);
    expect(backend.suspects?.()).toEqual([]);
  });

  test("is suspect for the processes after the one that found it, too", async () => {
    await readUnwatched();
    // Ends before it has dropped anything.
    const group = await openGroup({ root: fixture.root, keeper, log });
    for (const fd of [group.fd, group.lock]) close(fd);
    for (const process of ["second", "third"]) {
      const backend = await openBackend();
      const packIds = backend.suspects?.().map(({ packId }) => packId);
      expect([process, packIds]).toEqual([process, [testPackId]]);
      await closeLast();
    }
    await (await openBackend()).expose(fixture.layer.pack);
    expect(await fixture.read("other", "inOrder").report).toEqual(fixture.allRightOf("other"));
  });

  test("has pages left where they are mapped, and is said so", async () => {
    await readUnwatched();
    const mapping = mapFile(fixture.mounted("other"));
    expect(viewOf(mapping)[0]).toBe(0);
    const backend = await openBackend();
    expect(backend.suspects?.()[0]?.staleCachedPages).toBeGreaterThan(0);
    expect(suspects[0]?.[1]).toContain("pages are mapped");
    unmapFile(mapping);
  });

  test("is reported with the containers that have it", async () => {
    const [upper, work, merged] = ["upper", "work", "merged"].map((name) => fixture.path(name));
    for (const folder of [upper!, work!, merged!]) mkdirSync(folder);
    await readUnwatched();
    mountOverlay({
      lower: [fixture.path("mount"), "/"],
      upper: upper!,
      work: work!,
      target: merged!,
    });
    const command = ["unshare", "--mount", "chroot", merged!, "sleep", "60"];
    const container = Bun.spawn(command, { stdio: ["ignore", "ignore", "ignore"] });
    try {
      const commandOf = () => readFile(`/proc/${container.pid}/comm`, "latin1");
      await waitUntil(async () => (await commandOf()) === "sleep\n", "the container runs");
      const backend = await openBackend();
      expect(backend.suspects?.()[0]?.users).toMatchObject([
        { pid: container.pid, command: "sleep" },
      ]);
      expect(suspects[0]?.[1]).toContain(`restart sleep (process ${container.pid}`);
    } finally {
      container.kill("SIGKILL");
      await container.exited;
    }
  });

  test("is not suspect where it is not mounted, as after a reboot", async () => {
    const root = fixture.path("rebooted");
    makeTestLayer(join(root, "packs")).close();
    writeFileSync(exposedMarkerPath({ packs: join(root, "packs") }, testPackId), "");
    await openBackend(root);
    expect(suspects).toEqual([]);
  });
});

describe("openFanotifyBackend()", () => {
  test("refuses to serve what another process serves", async () => {
    await openBackend();
    expect(await rejection(openBackend())).toMatchObject({ code: "unavailable" });
  });

  test("refuses loop devices, which read zeros where nothing is", async () => {
    const opening = openFanotifyBackend({
      root: fixture.root,
      demand: fixture.source.demand,
      keeper,
      log,
      threads: 1,
      mountMethod: "loop",
      reportSuspect: () => undefined,
      onCrash: () => undefined,
    });
    expect(await rejection(opening)).toMatchObject({ code: "failed_precondition" });
  });

  test("leaves no descriptor, and no mount", async () => {
    const before = descriptors();
    await openBackend();
    expect(descriptors()).toBeGreaterThan(before);
    await closeLast();
    keeper.die();
    // A thread's own ones go a little later than the thread.
    await waitUntil(() => descriptors() === before, "descriptors are left");
    expect(fixture.mountPoints()).toEqual([]);
  });
});

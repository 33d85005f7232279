/**
 * Things that go wrong around the daemon: damaged files, a full disk, a second daemon. Each gets an
 * error that names the thing, nothing is lost, and nothing wrong is served.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { mountOverlay, unmount } from "../../ffi/mount.ts";
import { findLeftovers } from "../../scripts/lib/leftovers.ts";
import { runCommand, startService, waitUntil } from "../../scripts/lib/process.ts";
import { binaryFile } from "../../scripts/lib/project.ts";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { TestDaemon } from "../support/daemon.ts";
import { mounted, ownFolderOf } from "../support/mounted.ts";
import { randomBytes } from "../support/random.ts";
import { rejection } from "../support/rejection.ts";
import { mountSmallDisk, unmountSmallDisk } from "../support/small-disk.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";
import { canConnect } from "../support/socket.ts";

/** gRPC codes: see grpc/codes.h. */
const resourceExhausted = 8;
const dataLoss = 15;

let folder: ScratchFolder;
let daemon: TestDaemon;
let client: SnapshotsClient;

beforeEach(async () => {
  folder = scratchFolder("damage");
  await start(join(folder.path, "d"));
});

afterEach(async () => {
  client[Symbol.dispose]();
  await daemon.kill();
  daemon.unmountLayers();
  folder[Symbol.dispose]();
});

async function start(path: string): Promise<void> {
  daemon = await TestDaemon.start(path, { idleTimeoutMs: 0 });
  client = new SnapshotsClient(daemon.socket);
}

async function restart(): Promise<void> {
  client[Symbol.dispose]();
  await daemon.stop();
  await daemon.start();
  client = new SnapshotsClient(daemon.socket);
}

/** A committed layer with one file of this content. */
async function commitLayer(name: string, content: Uint8Array, parent = ""): Promise<void> {
  const own = ownFolderOf(await client.prepare(`key-${name}`, parent));
  writeFileSync(join(own, name), content);
  await client.commit(name, `key-${name}`);
}

async function readLayer(name: string, file = name): Promise<Buffer> {
  try {
    using view = mounted(await client.view(`view-${name}`, name));
    return readFileSync(join(view.path, file));
  } finally {
    await client.remove(`view-${name}`).catch(() => undefined);
  }
}

function overwrite(path: string, offset: number, bytes: Uint8Array): void {
  const file = openSync(path, "r+");
  writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

async function refusalToStart(): Promise<string> {
  client[Symbol.dispose]();
  const failure = await rejection(daemon.start());
  return String(failure);
}

function serve(env: Record<string, string>): Promise<string> {
  return runCommand([binaryFile, "serve"], { env });
}

/** The databases have some room of their own, so it may take some more snapshots. */
async function commitUntilRefused(): Promise<void> {
  await client.prepare("other", "");
  for (let count = 0; count < 10_000; count++) {
    await client.prepare(`${"k".repeat(2_000)}-${count}`, "");
  }
}

function fill(path: string): void {
  const file = openSync(path, "w");
  try {
    for (let size = 1024 * 1024; size >= 4096; size /= 2) writeUntilFull(file, size);
  } finally {
    closeSync(file);
  }
}

function writeUntilFull(file: number, size: number): void {
  try {
    for (;;) writeSync(file, Buffer.alloc(size, 1));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  }
}

describe("a daemon", () => {
  test("refuses a corrupted index by name, and says what to do", async () => {
    for (let count = 0; count < 40; count++) {
      await commitLayer(`layer-${count}`, randomBytes(`${count}`, 9_000));
    }
    await daemon.stop();
    const index = join(daemon.root, "index.db");
    overwrite(index, 4096, randomBytes("damage", statSync(index).size - 8192));
    const refusal = await refusalToStart();
    expect(refusal).toContain(index);
    expect(refusal).toContain("remedy");
  });

  test("refuses databases that do not belong together", async () => {
    await commitLayer("layer", randomBytes("layer", 9_000));
    await daemon.stop();
    for (const suffix of ["", "-wal", "-shm"]) {
      rmSync(join(daemon.root, `index.db${suffix}`), { force: true });
    }
    expect(await refusalToStart()).toContain("do not belong together");
  });

  test("refuses a missing pack by name until its layers are given up", async () => {
    const content = randomBytes("kept", 9_000);
    await commitLayer("lost", randomBytes("lost", 9_000));
    await daemon.stop();
    rmSync(join(daemon.root, "packs", "1.pack"));
    expect(await refusalToStart()).toContain('packs/1.pack" is missing');
    expect(await daemon.cli("check", "--repair").catch(String)).toContain("given up");
    await daemon.start();
    client = new SnapshotsClient(daemon.socket);
    expect(await rejection(client.view("view", "lost"))).toMatchObject({ code: dataLoss });
    await client.remove("lost");
    await commitLayer("again", content);
    expect((await readLayer("again")).equals(content)).toBe(true);
  });

  test("refuses to mount a damaged image by name, and goes on with the others", async () => {
    const content = randomBytes("good", 9_000);
    await commitLayer("bad", randomBytes("bad", 9_000));
    await commitLayer("good", content);
    await restart();
    const image = join(daemon.root, "images", "1.erofs");
    truncateSync(image, 4096);
    const failure = await rejection(client.prepare("key", "bad"));
    expect(failure).toMatchObject({ code: dataLoss });
    expect(String(failure)).toContain(image);
    expect((await readLayer("good")).equals(content)).toBe(true);
  });

  test("finds changed content with check --data, and repairs by giving up the layer", async () => {
    await commitLayer("layer", randomBytes("layer", 9_000));
    await daemon.stop();
    expect(await daemon.cli("check", "--data")).toBe("no problems found\n");
    overwrite(join(daemon.root, "packs", "1.pack"), 100, Buffer.from("x"));
    expect(await daemon.cli("check")).toBe("no problems found\n");
    expect(String(await rejection(daemon.cli("check", "--data")))).toContain("other bytes");
    expect(await daemon.cli("check", "--data", "--repair")).toContain("layer 1 given up");
  });

  test("keeps a layer whose image a mount of somebody else still reads", async () => {
    const content = randomBytes("used", 300_000);
    await commitLayer("used", content);
    const target = join(folder.path, "target");
    mkdirSync(target);
    {
      const [view] = await client.view("view", "used");
      mountOverlay({ lower: [view?.source ?? "", folder.path], target });
    }
    try {
      await client.removeAll();
      expect(readFileSync(join(target, "used")).equals(content)).toBe(true);
      await restart();
      expect(readFileSync(join(target, "used")).equals(content)).toBe(true);
    } finally {
      unmount(target);
    }
    await restart();
    expect(readdirSync(join(daemon.root, "images"))).toEqual([]);
    expect(readdirSync(join(daemon.root, "packs"))).toEqual([]);
  });

  test("refuses a root that another one has, and a socket that another one serves", async () => {
    const other = join(folder.path, "other");
    mkdirSync(other);
    const environment = { ROOT: daemon.root, ADDRESS: join(other, "s.sock"), CONFIG: "" };
    const sameRoot = await rejection(serve(environment));
    expect(String(sameRoot)).toContain(`Another process works on root "${daemon.root}"`);
    const sameSocket = await rejection(
      serve({ ROOT: join(other, "root"), ADDRESS: daemon.socket }),
    );
    expect(String(sameSocket)).toContain(daemon.socket);
    expect(findLeftovers(other)).toEqual([]);
    expect(await client.list()).toEqual([]);
  });

  test("goes on where its log cannot be written, as on a full disk", async () => {
    const [address, config] = [join(folder.path, "o.sock"), join(folder.path, "o.json")];
    writeFileSync(config, '{"api":{"address":null},"lazy":{"standby":false}}');
    const env = { ROOT: join(folder.path, "o"), ADDRESS: address, CONFIG: config };
    const service = startService([binaryFile, "serve"], "/dev/full", { env });
    await waitUntil(() => canConnect(address), "it does not serve");
    using other = new SnapshotsClient(address);
    await other.prepare("key", "");
    expect(await service.stop()).toBe(0);
  });

  test("replaces the socket of one that was killed", async () => {
    await daemon.kill();
    expect(statSync(daemon.socket).isSocket()).toBe(true);
    await daemon.start();
    expect(statSync(daemon.socket).mode & 0o777).toBe(0o600);
  });
});

describe("on a full disk", () => {
  const sizeMiB = 48;

  beforeEach(async () => {
    await daemon.stop();
    client[Symbol.dispose]();
    const place = await mountSmallDisk(folder.path, sizeMiB * 1024 * 1024);
    await start(join(place, "d"));
  });

  afterEach(async () => {
    client[Symbol.dispose]();
    await daemon.kill();
    daemon.unmountLayers();
    unmountSmallDisk(folder.path);
    // What the outer hook looks at lay on the small disk.
    mkdirSync(join(daemon.root, "mounts"), { recursive: true });
  });

  test("a layer stays a directory, with the reason, and later ones are converted", async () => {
    const large = randomBytes("large", 28 * 1024 * 1024);
    await commitLayer("large", large);
    const stats = await daemon.stats();
    expect(stats.layers).toMatchObject({ converted: 0, plain: 1 });
    expect(stats.layers.plain_layers[0]?.reason).toContain("no space left");
    expect((await readLayer("large")).equals(large)).toBe(true);
    await client.remove("large");
    await client.cleanup();
    const small = randomBytes("small", 8 * 1024 * 1024);
    await commitLayer("small", small);
    expect((await daemon.stats()).layers).toMatchObject({ converted: 1, plain: 0 });
    expect((await readLayer("small")).equals(small)).toBe(true);
  });

  test("a commit that cannot be noted is refused, and works once there is space", async () => {
    const content = randomBytes("content", 1024 * 1024);
    const [mount] = await client.prepare("key", "");
    writeFileSync(join(mount?.source ?? "", "file"), content);
    const filler = join(folder.path, "small", "filler");
    fill(filler);
    const failure = await rejection(commitUntilRefused());
    expect(failure).toMatchObject({ code: resourceExhausted });
    rmSync(filler);
    await client.commit("layer", "key");
    expect((await readLayer("layer", "file")).equals(content)).toBe(true);
    await restart();
    expect((await readLayer("layer", "file")).equals(content)).toBe(true);
  });
});

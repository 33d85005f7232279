/**
 * Real images on a real kernel: needs root, EROFS and loop devices; what this kernel cannot do is
 * skipped by name.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { openFlag } from "../../ffi/constants.ts";
import { close, open } from "../../ffi/file.ts";
import { mountBind, mountOverlay, unmount } from "../../ffi/mount.ts";
import { AppError, describeError } from "../../src/errors.ts";
import type { MountDriver, MountMethod, MountMode } from "../../src/mount/contract.ts";
import { mountImage, unmountTarget } from "../../src/mount/erofs-mount.ts";
import { NodeLayerMounts } from "../../src/mount/layer-mounts.ts";
import { parseMountInfo } from "../../src/mount/mountinfo.ts";
import { probeMountMode } from "../../src/mount/probe.ts";
import { packContent, writeLayer } from "../support/layer-image.ts";
import { loopBackingFiles, noLoopsBelow } from "../support/loop-devices.ts";
import { type ScratchFolder, scratchFolder } from "../../scripts/lib/temp.ts";

function supports(method: MountMethod): boolean {
  try {
    probeMountMode(method, tmpdir());
    return true;
  } catch (error) {
    console.warn(`skipping mounts by ${method}: ${describeError(error)}`);
    return false;
  }
}

const methods = (["file", "loop"] as const).filter(supports);
const modes: MountMode[] = methods.flatMap((method) => [
  { method, directIo: true },
  { method, directIo: false },
]);
const named = modes.map((mode) => [`${mode.method}, direct I/O ${mode.directIo}`, mode] as const);
const anyMode = modes[0] ?? { method: "file", directIo: false };

let scratch: ScratchFolder;
let images = "";
let target = "";

beforeEach(() => {
  scratch = scratchFolder("unit");
  images = `${scratch.path}/images`;
  target = `${scratch.path}/target`;
});

afterEach(async () => {
  for (const { mountPoint } of ourMounts().reverse()) unmount(mountPoint, { lazily: true });
  await noLoopsBelow(scratch.path);
  scratch[Symbol.dispose]();
});

/** How far is read ahead on each device there is, in KiB. */
function readaheads(): (readonly [name: string, kiB: string])[] {
  const folder = "/sys/class/bdi";
  const read = (name: string) => readFileSync(`${folder}/${name}/read_ahead_kb`, "utf8").trim();
  return readdirSync(folder).map((name) => [name, read(name)] as const);
}

function failure(action: () => unknown): AppError {
  try {
    action();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error("it succeeded");
}

const currentMounts = () => parseMountInfo(readFileSync("/proc/self/mountinfo", "utf8"));
const ourMounts = () =>
  currentMounts().filter((entry) => entry.mountPoint.startsWith(`${scratch.path}/`));
const mountCount = () => ourMounts().length;

/** A layer whose content is all in pack 1. */
const source = (layerId: number) => ({
  image: `${images}/${layerId}.erofs`,
  packs: [`${images}/1.pack`],
});

describe("mountImage()", () => {
  test.each(named)("reads content from several packs: %s", (_, mode) => {
    const packIds = [1, 2, 3];
    expect(mountImage(writeLayer(images, 7, packIds), target, mode)).toEqual(mode);
    expect(readdirSync(target).sort()).toEqual(["1", "2", "3", "layer-7", "null"]);
    for (const id of packIds) expect(readFileSync(`${target}/${id}`)).toEqual(packContent(id));
    unmountTarget(target);
    expect(existsSync(target)).toBe(false);
  });

  test.each(named)("needs no pack for an image without content: %s", (_, mode) => {
    mountImage(writeLayer(images, 7, []), target, mode);
    expect(readdirSync(target).sort()).toEqual(["layer-7", "null"]);
  });

  test.each(named)("takes packs by the dozen and long paths: %s", (_, mode) => {
    const folder = `${images}/${"long".repeat(50)}/${"path".repeat(50)}`;
    const packIds = Array.from({ length: 24 }, (_unused, index) => index + 1);
    mountImage(writeLayer(folder, 7, packIds), target, mode);
    expect(readFileSync(`${target}/24`)).toEqual(packContent(24));
  });

  test.each(named)("mounts read-only, with device nodes that work: %s", (_, mode) => {
    mountImage(writeLayer(images, 7, [1]), target, mode);
    expect(() => writeFileSync(`${target}/1`, "")).toThrow("EROFS");
    expect(readFileSync(`${target}/null`, "utf8")).toBe("");
  });

  test.each(named)("names a missing pack, and leaves nothing: %s", (_, mode) => {
    const files = writeLayer(images, 7, [1, 2]);
    rmSync(`${images}/2.pack`);
    const error = failure(() => mountImage(files, target, mode));
    expect(error.code).toBe("data_loss");
    expect(describeError(error)).toContain(`${images}/2.pack`);
    expect(mountCount()).toBe(0);
    expect(existsSync(target)).toBe(false);
  });

  test.each(named)("refuses a corrupt image, and leaves nothing: %s", async (_, mode) => {
    const files = writeLayer(images, 7, [1]);
    const sound = readFileSync(files.image);
    // The magic number, and a field that only the checksum covers.
    for (const offset of [1024, 1024 + 48]) {
      const damaged = Buffer.from(sound);
      damaged.writeUInt8(damaged.readUInt8(offset) ^ 0xff, offset);
      writeFileSync(files.image, damaged);
      const error = failure(() => mountImage(files, target, mode));
      expect(error.code).toBe("data_loss");
      expect(error.message).toContain(`Cannot mount image "${files.image}" at "${target}"`);
    }
    expect(mountCount()).toBe(0);
    expect(existsSync(target)).toBe(false);
    await noLoopsBelow(scratch.path);
  });

  test.each(named)("has the kernel read further ahead, by %s", (_, mode) => {
    const before = new Map(readaheads());
    mountImage(writeLayer(images, 1, [1]), target, mode);
    const changed = readaheads().filter(([name, kiB]) => before.get(name) !== kiB);
    expect(changed.map(([, kiB]) => kiB)).toEqual(["512"]);
    unmountTarget(target);
  });

  test("refuses fewer packs than the image has devices", () => {
    const { image, packs } = writeLayer(images, 7, [1, 2]);
    const error = failure(() => mountImage({ image, packs: packs.slice(1) }, target, anyMode));
    expect(error.code).toBe("data_loss");
  });

  test.skipIf(!methods.includes("loop"))("gives a shared pack one loop device", async () => {
    const mode: MountMode = { method: "loop", directIo: true };
    mountImage(writeLayer(images, 7, [1, 2]), `${target}-a`, mode);
    mountImage(writeLayer(images, 8, [2, 3]), `${target}-b`, mode);
    const packs = [1, 2, 3].map((id) => `${images}/${id}.pack`);
    const layers = [7, 8].map((id) => `${images}/${id}.erofs`);
    expect(loopBackingFiles(scratch.path)).toEqual([...packs, ...layers].sort());
    expect(readFileSync(`${target}-a/2`)).toEqual(readFileSync(`${target}-b/2`));

    unmountTarget(`${target}-a`);
    expect(readFileSync(`${target}-b/2`)).toEqual(packContent(2));
    unmountTarget(`${target}-b`);
    await noLoopsBelow(scratch.path);
  });

  test.each(named)("serves as lower layer of an overlay, also once unmounted: %s", (_, mode) => {
    mountImage(writeLayer(images, 7, [1]), `${target}-a`, mode);
    mountImage(writeLayer(images, 8, [2]), `${target}-b`, mode);
    mkdirSync(target);
    mountOverlay({ lower: [`${target}-b`, `${target}-a`], target });
    unmountTarget(`${target}-a`);
    expect(readFileSync(`${target}/1`)).toEqual(packContent(1));
    expect(readFileSync(`${target}/2`)).toEqual(packContent(2));
  });
});

describe("unmountTarget()", () => {
  test("unmounts all that is stacked, and removes the directory", () => {
    mountImage(writeLayer(images, 7, [1]), target, anyMode);
    mountBind(images, target);
    unmountTarget(target);
    expect(mountCount()).toBe(0);
    expect(existsSync(target)).toBe(false);
    unmountTarget(target);
  });

  test("deletes nothing that is in the directory", () => {
    mkdirSync(`${target}/precious`, { recursive: true });
    unmountTarget(target);
    expect(existsSync(`${target}/precious`)).toBe(true);
  });

  test("refuses while a file is open, and says how to find who has it", () => {
    mountImage(writeLayer(images, 7, [1]), target, anyMode);
    const fd = open(`${target}/1`, openFlag.readOnly);
    const error = failure(() => unmountTarget(target));
    expect(error.code).toBe("failed_precondition");
    expect(error.remedy).toContain("fuser");
    close(fd);
    unmountTarget(target);
  });
});

describe("probeMountMode() on this kernel", () => {
  test.each(methods)("finds that %s works, and leaves nothing", async (method) => {
    mkdirSync(images);
    expect(probeMountMode(method, images).mode.method).toBe(method);
    expect(readdirSync(images)).toEqual([]);
    expect(mountCount()).toBe(0);
    await noLoopsBelow(scratch.path);
  });

  test("removes the mount of a probe that was killed", () => {
    mountImage(writeLayer(images, 7, [1]), `${images}/probe-killed/mount`, anyMode);
    probeMountMode("auto", images);
    expect(readdirSync(images).sort()).toEqual(["1.pack", "7.erofs"]);
  });
});

describe.each(named)("NodeLayerMounts on this kernel: %s", (_, mode) => {
  const driver: MountDriver = {
    mount: async (files, place) => void mountImage(files, place, mode),
    unmount: async (place) => unmountTarget(place),
  };
  const start = () =>
    new NodeLayerMounts({
      directory: `${scratch.path}/mounts`,
      driver,
      method: mode.method,
      source,
      idleMs: 60_000,
    });
  test("adopts after a restart what containers use, and unmounts the rest", async () => {
    for (const layerId of [1, 2, 3]) writeLayer(images, layerId, [1]);
    const before = start();
    await before.adopt(currentMounts(), new Map());
    await before.acquire("container", [1, 2]);
    await before.acquire("other", [3]);
    const device = statSync(before.directory(1), { bigint: true }).dev;

    const after = start();
    const inUse = new Map([
      [1, ["container"]],
      [2, ["container"]],
    ]);
    expect(await after.adopt(currentMounts(), inUse)).toEqual({ adopted: [1, 2], missing: [] });
    await after.acquire("container", [1, 2]);
    expect(mountCount()).toBe(2);
    expect(statSync(after.directory(1), { bigint: true }).dev).toBe(device);
    expect(after.counts()[mode.method]).toBe(2);
    expect(readFileSync(`${after.directory(2)}/1`)).toEqual(packContent(1));

    after.release("container");
    await after.shutdown();
    expect(mountCount()).toBe(0);
    expect(readdirSync(`${scratch.path}/mounts`)).toEqual([]);
    await noLoopsBelow(scratch.path);
  });
});

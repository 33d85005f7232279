/**
 * Images as the running kernel sees them: everything that was planned, nothing else.
 */
import {
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import {
  closeSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { openFlag } from "../../ffi/constants.ts";
import { close, open } from "../../ffi/file.ts";
import { statAt } from "../../ffi/status.ts";
import { holeChunk } from "../../src/erofs/tree.ts";
import { type Device, emitImage, planImage } from "../../src/erofs/write.ts";
import type { MountMode } from "../../src/mount/contract.ts";
import { mountImage, unmountTarget } from "../../src/mount/erofs-mount.ts";
import { ensureForky } from "../../scripts/lib/forky.ts";
import { type ScratchFolder, scratchFolder } from "../../scripts/lib/temp.ts";
import { byteStringOfText } from "../../src/util/byte-string.ts";
import { GiB, MiB } from "../../src/util/bytes.ts";
import { fsck, fsckDevicesMax } from "../support/fsck.ts";
import {
  chunkedFile,
  directory,
  inlineFile,
  randomTree,
  special,
  symlink,
  xattr,
} from "../unit/erofs/make-tree.ts";
import { factsOfFolder, factsOfPlannedTree } from "../unit/erofs/mounted-facts.ts";
import { type Directory, type Inode, toFileTree } from "../support/tree-objects.ts";

// A million inodes and the download of erofs-utils take their time.
setDefaultTimeout(120_000);

const fileMode: MountMode = { method: "file", directIo: false };
const modes: readonly MountMode[] = [
  fileMode,
  { method: "file", directIo: true },
  { method: "loop", directIo: false },
  { method: "loop", directIo: true },
];
const packStart = 1 << 24;
/** Each chunk begins on a block of its own eight. */
const blockOf = (chunk: number) => packStart + chunk * 8;

let folder: ScratchFolder;

// A Debian tree may have to be downloaded.
beforeAll(async () => void (await ensureForky()), 300_000);

beforeEach(() => {
  folder = scratchFolder("erofs");
});

afterEach(() => {
  unmountTarget(join(folder.path, "target"));
  folder[Symbol.dispose]();
});

/** Content of one block, told from all others. */
function blockContent(block: number): Buffer {
  return Buffer.alloc(4096, `block ${block} `);
}

/** Packs in a row from `packStart`, each of so many blocks. */
function packDevices(...blocks: readonly number[]): readonly Device[] {
  let uniaddr = packStart;
  return blocks.map((count, at) => {
    const device = { tag: `pack-${at}`, blocks: count, uniaddr };
    uniaddr += count;
    return device;
  });
}

function writePacks(devices: readonly Device[]): string[] {
  return devices.map(({ tag, blocks, uniaddr }) => {
    const path = join(folder.path, tag);
    const content = Array.from({ length: blocks }, (_, at) => blockContent(uniaddr + at));
    writeFileSync(path, Buffer.concat(content));
    return path;
  });
}

/** Writes image and packs, has them checked by erofs-utils, and mounts them; returns where. */
async function mountTree(
  root: Directory,
  devices: readonly Device[],
  mode: MountMode,
  addressOf: (chunk: number) => number = blockOf,
  namesDevices = false,
): Promise<string> {
  const image = join(folder.path, "image");
  const fd = openSync(image, "w");
  try {
    const options = { devices, blockOf: addressOf, namesDevices };
    emitImage(planImage(toFileTree(root), options), (offset, bytes) => {
      writeSync(fd, bytes, 0, bytes.length, offset);
    });
  } finally {
    closeSync(fd);
  }
  const packs = writePacks(devices);
  if (packs.length <= fsckDevicesMax) {
    expect(await fsck(image, packs)).toEqual({ exitCode: 0, output: "" });
  }
  const target = join(folder.path, "target");
  mountImage({ image, packs }, target, mode);
  return target;
}

/** All that the random trees leave out. */
function addOddities(root: Directory): Directory {
  const acl =
    "0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000500ffffffff";
  const more: Record<string, Inode> = {
    "acl directory": directory(
      {},
      {
        xattrs: ["access", "default"].map((kind) =>
          xattr(`system.posix_acl_${kind}`, Buffer.from(acl, "hex")),
        ),
      },
    ),
    whiteout: special("characterDevice", 0, 0),
    "long target": symlink("t".repeat(4095)),
    "target of a block with its inode": symlink("t".repeat(4096 - 32)),
    ["n".repeat(255)]: inlineFile("long name"),
    "setuid, with the largest xattr": inlineFile("", {
      mode: 0o104755,
      xattrs: [xattr("user.large", Buffer.alloc(65_535, 1)), xattr("user.small", "s")],
    }),
    "all a hole": chunkedFile(100_001, 4096, Array(25).fill(holeChunk)),
    "large owner": inlineFile("x", { uid: 2 ** 32 - 2, gid: 2 ** 31 }),
  };
  for (const [name, inode] of Object.entries(more)) {
    root.entries.set(byteStringOfText(name), inode);
  }
  return root;
}

/** Reads a range of a file. */
function readRange(path: string, offset: number, length: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
  } finally {
    closeSync(fd);
  }
}

describe.skipIf(process.getuid?.() !== 0)("the kernel", () => {
  describe.each(modes)("with images as $method, direct I/O $directIo", (mode) => {
    test.each([
      ["one pack", packDevices(8192), 11, false],
      ["two packs", packDevices(4096, 4096), 12, false],
      ["two packs that are named", packDevices(4096, 4096), 13, true],
    ])("shows a random tree on %s as it was planned", async (_, devices, seed, namesDevices) => {
      const root = addOddities(randomTree(seed, 3000));
      const target = await mountTree(root, devices, mode, blockOf, namesDevices);
      expect(factsOfFolder(target)).toEqual(factsOfPlannedTree(root, blockOf, blockContent));
    });
  });

  test("finds each of 100,000 names in one directory", async () => {
    const root = directory();
    for (let at = 0; at < 100_000; at++) {
      root.entries.set(byteStringOfText(`name-${at}`), inlineFile("", { mtimeSeconds: at % 7 }));
    }
    const target = await mountTree(root, [], fileMode);
    expect(new Set(readdirSync(target))).toEqual(new Set(root.entries.keys() as Iterable<string>));
    const fd = open(target, openFlag.readOnly | openFlag.directory);
    try {
      for (const [name, inode] of root.entries) {
        if (statAt(fd, name).mtimeSeconds !== inode.mtimeSeconds) throw new Error(name);
      }
    } finally {
      close(fd);
    }
  });

  test("reads zeros and data of a sparse file of 5 GiB and a bit", async () => {
    const chunks = new Int32Array(1281).fill(holeChunk);
    const filled = [0, 7, 8, 1000, 1279, 1280];
    for (const [at, chunk] of filled.entries()) chunks[chunk] = at;
    const addressOf = (ref: number) => packStart + (filled.length - 1 - ref) * 1024;
    const sizeBytes = 5 * GiB + 5000;
    const root = directory({ sparse: chunkedFile(sizeBytes, 4 * MiB, chunks) });
    const devices = packDevices(filled.length * 1024);
    const path = join(await mountTree(root, devices, fileMode, addressOf), "sparse");
    expect(statSync(path).size).toBe(sizeBytes);
    for (const [at, chunk] of filled.slice(0, -1).entries()) {
      const first = chunk * 4 * MiB;
      expect(readRange(path, first, 4096)).toEqual(blockContent(addressOf(at)));
      const last = readRange(path, first + 4 * MiB - 4096, 4096);
      expect(last).toEqual(blockContent(addressOf(at) + 1023));
    }
    expect(readRange(path, 5 * GiB + 4096, 10_000)).toEqual(
      blockContent(addressOf(5) + 1).subarray(0, 904),
    );
    for (const hole of [1, 6, 9, 999, 1001, 1278]) {
      expect(readRange(path, hole * 4 * MiB, 4 * MiB)).toEqual(Buffer.alloc(4 * MiB));
    }
  });

  test("reads each of 300 packs", async () => {
    const devices = packDevices(...Array<number>(300).fill(8));
    const root = directory();
    for (let at = 0; at < devices.length; at++) {
      root.entries.set(byteStringOfText(`f${at}`), chunkedFile(4096, 4096, at));
    }
    const target = await mountTree(root, devices, fileMode);
    for (let at = 0; at < devices.length; at++) {
      expect(readRange(join(target, `f${at}`), 0, 4096)).toEqual(blockContent(blockOf(at)));
    }
  });

  test("shows a million inodes as they were planned", async () => {
    const root = directory();
    for (let at = 0; at < 1000; at++) {
      const files = directory();
      for (let file = 0; file < 999; file++) {
        const attributes = { mtimeSeconds: at * 1000 + file, uid: file };
        files.entries.set(byteStringOfText(`f${file}`), inlineFile("", attributes));
      }
      root.entries.set(byteStringOfText(`d${at}`), files);
    }
    const target = await mountTree(root, [], fileMode);
    for (const [name, inode] of root.entries) compareFiles(join(target, name), inode);
  });
});

/** Compares directories of files without building anything: there are a million. */
function compareFiles(path: string, planned: Inode): void {
  if (planned.type !== "directory") throw new Error(`${path} is planned as no directory`);
  const fd = open(path, openFlag.readOnly | openFlag.directory);
  try {
    for (const [name, inode] of planned.entries) {
      const { mtimeSeconds, uid, mode } = statAt(fd, name);
      const isSame =
        mtimeSeconds === inode.mtimeSeconds && uid === inode.uid && mode === inode.mode;
      if (!isSame) throw new Error(`${path}/${name} is not as planned`);
    }
  } finally {
    close(fd);
  }
}

/**
 * Images as the daemon stores them, with its packs, read by erofs-utils: every attribute and all
 * content of every file, in each compression, as the kernel shows them.
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { mountImage, unmountTarget } from "../../src/mount/erofs-mount.ts";
import { openImageFile } from "../../src/store/layer-files.ts";
import { packPath, storePaths } from "../../src/store/paths.ts";
import { KiB, MiB } from "../../src/util/bytes.ts";
import { TestDaemon } from "../support/daemon.ts";
import { ContentFolder, descriptorOf, DiffClient } from "../support/diff-client.ts";
import { foldIntoPack, fsck } from "../support/fsck.ts";
import { hardCaseLayers } from "../support/image/hard-cases.ts";
import { directory, file, type Layer } from "../support/image/layer.ts";
import { treeDifferences, type Tree } from "../support/image/model.ts";
import { writeTar } from "../support/image/tar.ts";
import { Picker } from "../support/picker.ts";
import { randomBytes } from "../support/random.ts";
import { SnapshotsClient } from "../support/snapshots-client.ts";
import { readTree } from "../support/tree.ts";

// A Debian tree may have to be downloaded.
setDefaultTimeout(300_000);

/** What the first layer takes of the pack: none of the others uses it. */
const leadBytes = 4 * MiB;
const leadLayer: Layer = [directory(""), file("lead", randomBytes("lead", leadBytes))];

let folder: ScratchFolder;

beforeEach(() => {
  folder = scratchFolder("fsck");
});

afterEach(() => {
  unmountTarget(join(folder.path, "mounted"));
  folder[Symbol.dispose]();
});

/** Files of all sizes, of which more or less can be compressed. */
function variousFiles(): Layer {
  const picker = new Picker("various files");
  const files = Array.from({ length: 400 }, (_, index) => {
    const sizeBytes = picker.integer(picker.integer(3) === 0 ? 5 * MiB : 40 * KiB);
    const bytes = Buffer.alloc(sizeBytes, `text ${index} `);
    randomBytes(`${index}`, Math.floor((sizeBytes * picker.integer(4)) / 3)).copy(bytes);
    return file(`various/${index}`, bytes);
  });
  return [directory(""), directory("various"), ...files];
}

/** Has a daemon store the layers, each on the one before; resolves with its root. */
async function store(layers: readonly Layer[], compression: "zstd" | "deflate" | "none") {
  const containerd = { address: join(folder.path, "none"), root: join(folder.path, "c") };
  const content = new ContentFolder(containerd.root);
  await using daemon = await TestDaemon.start(join(folder.path, "d"), { compression, containerd });
  using snapshots = new SnapshotsClient(daemon.socket);
  using diff = new DiffClient(daemon.socket);
  for (const [index, layer] of layers.entries()) {
    const blob = gzipSync(writeTar(layer), { level: 1 });
    content.put(blob);
    const mounts = await snapshots.prepare(`key ${index}`, index === 0 ? "" : `layer ${index - 1}`);
    await diff.apply(descriptorOf(blob), mounts);
    await snapshots.commit(`layer ${index}`, `key ${index}`);
  }
  await daemon.stop();
  return storePaths(daemon.root);
}

function treeInKernel(image: string, packs: readonly string[]): Tree {
  const target = join(folder.path, "mounted");
  mountImage({ image, packs }, target, { method: "loop", directIo: false });
  try {
    return readTree(target);
  } finally {
    unmountTarget(target);
  }
}

/**
 * Without what fsck.erofs loses while it extracts: it changes the owner last, at which the kernel
 * drops capabilities, and takes an empty value of an xattr for an error, at which it leaves the
 * rest of that file's.
 */
function comparable(tree: Tree, kernelTree: Tree): Tree {
  const entries = [...tree].map(([path, facts]) => {
    const inKernel = kernelTree.get(path)?.xattrs ?? {};
    const { "security.capability": _, ...kept } = facts.xattrs;
    const xattrs = Object.values(inKernel).includes("") ? {} : kept;
    return [path, { ...facts, xattrs }] as const;
  });
  return new Map(entries);
}

/** The tree of an image with content in one pack, as fsck.erofs reads it. */
async function treeInFsck(image: string, pack: string): Promise<Tree> {
  const [folded, extracted] = [join(folder.path, "folded"), join(folder.path, "extracted")];
  await foldIntoPack(image, pack, folded, leadBytes);
  mkdirSync(extracted);
  const options = [`--extract=${extracted}`, "--overwrite", "--xattrs", "--preserve"];
  const { exitCode, output } = await fsck(folded, [pack], options);
  expect(output.replaceAll(/.*failed to get xattr value size of `user.empty`.*\n/g, "")).toBe("");
  expect(exitCode).toBe(0);
  const tree = readTree(extracted);
  await Bun.$`rm -r ${folded} ${extracted}`.quiet();
  return tree;
}

describe("fsck.erofs reads every image the daemon writes", () => {
  test.each(["zstd", "deflate", "none"] as const)("with %s", async (compression) => {
    const paths = await store([leadLayer, ...hardCaseLayers(), variousFiles()], compression);
    const images = readdirSync(paths.images).filter((name) => name !== "1.erofs");
    expect(images.length).toBeGreaterThanOrEqual(4);
    let extracted = 0;
    for (const name of images) {
      const image = join(paths.images, name);
      using opened = openImageFile(image);
      const packs = opened.image.devices.map(({ tag }) => packPath(paths, Number.parseInt(tag)));
      expect(await fsck(image, packs)).toEqual({ exitCode: 0, output: "" });
      const [pack] = packs;
      if (pack === undefined) continue;
      extracted += 1;
      const kernelTree = treeInKernel(image, packs);
      const fsckTree = comparable(await treeInFsck(image, pack), kernelTree);
      expect(treeDifferences(comparable(kernelTree, kernelTree), fsckTree)).toEqual([]);
    }
    expect(extracted).toBeGreaterThanOrEqual(3);
  });
});

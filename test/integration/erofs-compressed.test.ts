/**
 * Compressed images as the running kernel and erofs-utils see them.
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
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compressionAlgorithm } from "../../src/erofs/compression.ts";
import type { ExtentCodec } from "../../src/erofs/extent-codec.ts";
import { holeChunk } from "../../src/erofs/tree.ts";
import type { MountMode } from "../../src/mount/contract.ts";
import { probeCompression } from "../../src/mount/probe-compression.ts";
import { mountImage, unmountTarget } from "../../src/mount/erofs-mount.ts";
import { ensureForky } from "../../scripts/lib/forky.ts";
import { type ScratchFolder, scratchFolder } from "../../scripts/lib/temp.ts";
import { byteStringOfText } from "../../src/util/byte-string.ts";
import { KiB, MiB } from "../../src/util/bytes.ts";
import { leadBlocks, PackedContent } from "../support/packed-content.ts";
import {
  chunkedFile,
  directory,
  inlineFile,
  randomNumbers,
  xattr,
} from "../unit/erofs/make-tree.ts";
import { imageOf } from "../unit/erofs/tree-facts.ts";
import type { Directory } from "../support/tree-objects.ts";

// A Debian tree may have to be downloaded.
setDefaultTimeout(300_000);

const modes: readonly MountMode[] = [
  { method: "file", directIo: false },
  { method: "file", directIo: true },
  { method: "loop", directIo: false },
  { method: "loop", directIo: true },
];
const codecs: readonly (readonly [string, ExtentCodec])[] = [
  ["zstd", { algorithm: compressionAlgorithm.zstd, level: 3 }],
  ["deflate", { algorithm: compressionAlgorithm.deflate, level: 6 }],
];
/** Near the end of the address space. */
const packStart = 0xf000_0000;
const chunkBytes = 512 * KiB;

let folder: ScratchFolder;
let forky: string;

beforeAll(async () => {
  forky = await ensureForky();
});

beforeEach(() => {
  folder = scratchFolder("erofs");
});

afterEach(() => {
  unmountTarget(join(folder.path, "target"));
  folder[Symbol.dispose]();
});

/** Bytes that compress well, not at all, or in parts. */
function makeContent(random: (limit: number) => number, sizeBytes: number): Buffer {
  const kind = random(3);
  const bytes = Buffer.alloc(sizeBytes, `text ${random(1e9)} `);
  for (let at = 0; at < sizeBytes; at += 32 * KiB) {
    if (kind === 0 || (kind === 1 && random(2) === 0)) continue;
    crypto.getRandomValues(bytes.subarray(at, at + 32 * KiB));
  }
  return bytes;
}

interface Sample {
  readonly root: Directory;
  readonly files: ReadonlyMap<string, Buffer>;
  readonly content: PackedContent;
}

const edgeSizes = [
  1,
  4095,
  4096,
  4097,
  8192,
  131_071,
  131_072,
  131_073,
  200_000,
  262_144,
  524_287,
  524_288,
  524_289,
  3 * MiB + 1,
];

/** Files of every size and encoding, alone and mixed, some with xattrs. */
async function makeSample(codec: ExtentCodec, seed: number): Promise<Sample> {
  const random = randomNumbers(seed);
  const content = new PackedContent(codec, packStart);
  const files = new Map<string, Buffer>();
  const root = directory({ inline: inlineFile("inline") });
  const add = (name: string, bytes: Buffer, chunks: readonly number[]) => {
    const attributes = random(3) === 0 ? { xattrs: [xattr("user.x", "y".repeat(random(99)))] } : {};
    files.set(name, bytes);
    const file = chunkedFile(bytes.length, chunkBytes, chunks, attributes);
    root.entries.set(byteStringOfText(name), file);
  };
  const addChunk = async (bytes: Buffer) =>
    random(4) === 0 ? content.addPlain(bytes) : content.addExtents(bytes);
  for (let made = 0; made < 60; made++) {
    const sizeBytes = edgeSizes[made] ?? 1 + random(random(2) === 0 ? 2 * MiB : 200_000);
    const bytes = makeContent(random, sizeBytes);
    const chunks: number[] = [];
    for (let at = 0; at < sizeBytes; at += chunkBytes) {
      const piece = bytes.subarray(at, at + chunkBytes);
      const isTail = at > 0 && piece.length < 100_000;
      chunks.push(isTail ? await content.addBundle([piece]) : await addChunk(piece));
    }
    add(`file-${made}`, bytes, chunks);
    if (made % 10 === 0) add(`again-${made}`, bytes, chunks);
  }
  for (let made = 0; made < 12; made++) {
    const members = Array.from({ length: 1 + random(20) }, () =>
      makeContent(random, 1 + random(6000)),
    );
    const first = await content.addBundle(members);
    for (const [at, bytes] of members.entries()) add(`small-${made}-${at}`, bytes, [first + at]);
  }
  root.entries.set(
    byteStringOfText("hole"),
    chunkedFile(9 * MiB, 4 * MiB, Array(3).fill(holeChunk)),
  );
  files.set("hole", Buffer.alloc(9 * MiB));
  return { root, files, content };
}

function writeSample({ root, content }: Sample): { image: string; packs: string[] } {
  const image = join(folder.path, "image");
  writeFileSync(image, imageOf(root, content.options()));
  return { image, packs: [content.write(folder.path)] };
}

/**
 * Makes the image file the pack, with the image at its start. fsck.erofs 1.9 finds compressed
 * content on a device, but then reads it from the image file at the offset in the device.
 */
function foldPack(path: string, pack: Buffer): void {
  const image = readFileSync(path);
  if (image.length > leadBlocks * 4096) throw new Error("the image reaches into the content");
  image.copy(pack);
  writeFileSync(path, pack);
}

describe.skipIf(process.getuid?.() !== 0).each(codecs)("an image with %s", (_, codec) => {
  test.each(modes)("reads as it was written: $method, direct I/O $directIo", async (mode) => {
    const sample = await makeSample(codec, mode.directIo ? 1 : 2);
    const target = join(folder.path, "target");
    mountImage(writeSample(sample), target, mode);
    for (const [name, bytes] of sample.files) {
      if (!readFileSync(join(target, name)).equals(bytes)) throw new Error(`${name} differs`);
      // GNU tar -S takes a file of no blocks for a hole.
      if (statSync(join(target, name)).blocks === 0) throw new Error(`${name} has no blocks`);
    }
  });

  test("is extracted by fsck.erofs as it was written", async () => {
    const sample = await makeSample(codec, 3);
    const { image, packs } = writeSample(sample);
    foldPack(image, sample.content.bytes());
    const extracted = join(folder.path, "extracted");
    mkdirSync(extracted);
    const loader = join(forky, "lib64/ld-linux-x86-64.so.2");
    const libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
    const fsck = Bun.spawnSync([
      loader,
      "--library-path",
      libraries.map((path) => join(forky, path)).join(":"),
      join(forky, "usr/bin/fsck.erofs"),
      ...packs.map((pack) => `--device=${pack}`),
      `--extract=${extracted}`,
      "--overwrite",
      image,
    ]);
    expect(fsck.stderr.toString()).toBe("");
    expect(fsck.exitCode).toBe(0);
    for (const [name, bytes] of sample.files) {
      if (!readFileSync(join(extracted, name)).equals(bytes)) throw new Error(`${name} differs`);
    }
  });
});

describe("probeCompression()", () => {
  test.each(["zstd", "deflate"] as const)("finds that this kernel reads %s", async (name) => {
    const request = { compression: name, level: null, mode: modes[0]! };
    const { codec } = await probeCompression(request, folder.path);
    expect(codec?.algorithm).toBe(compressionAlgorithm[name]);
    expect(readdirSync(folder.path)).toEqual([]);
  });
});

describe("an image whose pack is damaged", () => {
  test("gives an error where compressed content was, never other bytes", async () => {
    const [, codec] = codecs[0]!;
    const content = new PackedContent(codec, packStart);
    const bytes = Buffer.alloc(100_000, "text ");
    const first = await content.addBundle([bytes.subarray(0, 5000)]);
    const extents = await content.addExtents(bytes);
    const root = directory({
      small: chunkedFile(5000, chunkBytes, first),
      large: chunkedFile(bytes.length, chunkBytes, extents),
    });
    const image = writeSample({ root, content, files: new Map() });
    writeFileSync(image.packs[0]!, Buffer.alloc(content.bytes().length));
    const target = join(folder.path, "target");
    mountImage(image, target, modes[0]!);
    for (const name of ["small", "large"]) {
      expect(() => readFileSync(join(target, name))).toThrow();
    }
  });
});

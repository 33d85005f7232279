/**
 * Trees for the tests of writer and reader: makers of single inodes, and seeded random trees.
 *
 * @module
 */
import {
  type ChunkRef,
  fileType,
  holeChunk,
  noXattrs,
  type RegularFile,
  type SpecialFile,
  type Symlink,
  type Xattr,
} from "../../../src/erofs/tree.ts";
import { type ByteString, byteString, byteStringOfText } from "../../../src/util/byte-string.ts";
import type { Directory, Inode } from "../../support/tree-objects.ts";

export type Attributes = Pick<
  Inode,
  "mode" | "uid" | "gid" | "mtimeSeconds" | "mtimeNanoseconds" | "xattrs"
>;

const plain = { uid: 0, gid: 0, mtimeSeconds: 1_000_000, mtimeNanoseconds: 0, xattrs: noXattrs };

export function directory(
  entries: Record<string, Inode> = {},
  attributes: Partial<Attributes> = {},
): Directory {
  const named = Object.entries(entries).map(
    ([name, inode]) => [byteStringOfText(name), inode] as const,
  );
  const mode = fileType.directory | 0o755;
  return { type: "directory", mode, ...plain, ...attributes, entries: new Map(named) };
}

export function inlineFile(
  content: string | Uint8Array,
  attributes: Partial<Attributes> = {},
): RegularFile {
  const bytes = Buffer.from(content as Uint8Array);
  return {
    type: "file",
    mode: fileType.regular | 0o644,
    ...plain,
    ...attributes,
    sizeBytes: bytes.length,
    content: { kind: "inline", bytes },
  };
}

export function chunkedFile(
  sizeBytes: number,
  chunkSizeBytes: number,
  chunks: ChunkRef | readonly ChunkRef[] | Int32Array,
  attributes: Partial<Attributes> = {},
): RegularFile {
  const content = { kind: "chunks", chunkSizeBytes, chunks } as const;
  const mode = fileType.regular | 0o644;
  return { type: "file", mode, ...plain, ...attributes, sizeBytes, content };
}

export function symlink(target: string, attributes: Partial<Attributes> = {}): Symlink {
  const mode = fileType.symlink | 0o777;
  return { type: "symlink", mode, ...plain, ...attributes, target: byteStringOfText(target) };
}

export function special(
  type: "characterDevice" | "blockDevice" | "fifo" | "socket",
  deviceMajor = 0,
  deviceMinor = 0,
  attributes: Partial<Attributes> = {},
): SpecialFile {
  const mode = fileType[type] | 0o600;
  return { type: "special", mode, ...plain, ...attributes, deviceMajor, deviceMinor };
}

export function xattr(name: string, value: string | Uint8Array): Xattr {
  return { name: byteStringOfText(name), value: Buffer.from(value as Uint8Array) };
}

/** Whole numbers below `limit`, the same for each seed (mulberry32). */
export function randomNumbers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

const xattrLists: readonly (readonly Xattr[])[] = [
  [xattr("security.selinux", "system_u:object_r:container_file_t:s0")],
  [
    xattr("security.capability", Buffer.from([1, 0, 0, 2, 0, 4].concat(Array(14).fill(0)))),
    xattr("user.note", "x".repeat(300)),
  ],
  [xattr("trusted.overlay.opaque", "y"), xattr("user.empty", "")],
  [xattr("user.big", Buffer.alloc(9000, 7)), xattr("user.note", "short")],
];

/** A tree of about `count` inodes of all kinds; its chunks are below 1006, of at most 8 blocks. */
export function randomTree(seed: number, count: number): Directory {
  const random = randomNumbers(seed);
  const root = directory();
  const directories = [root];
  const files: Inode[] = [];
  for (let made = 0; made < count; made++) {
    const parent = directories[random(directories.length)]!;
    const linked = files[random(files.length * 10)];
    const inode = linked ?? randomInode(random);
    if (inode.type === "directory") directories.push(inode);
    else files.push(inode);
    parent.entries.set(randomName(random, made), inode);
  }
  return root;
}

function randomName(random: (limit: number) => number, serial: number): ByteString {
  const length = random(20) === 0 ? 200 : random(12);
  const bytes = Buffer.from(Array.from({ length }, () => 1 + random(255)));
  return byteString(Buffer.concat([bytes, Buffer.from(`.${serial}`)])).replaceAll(
    "/",
    "-",
  ) as ByteString;
}

function randomInode(random: (limit: number) => number): Inode {
  const attributes: Partial<Attributes> = {
    uid: random(4) === 0 ? 100_000 + random(1000) : random(3),
    gid: random(3),
    mtimeSeconds: [1_000_000, -5, 2 ** 33, random(1e6)][random(4)]!,
    mtimeNanoseconds: random(2) * random(1e9),
    xattrs: random(3) === 0 ? xattrLists[random(xattrLists.length)]! : noXattrs,
  };
  switch (random(8)) {
    case 0:
    case 1:
      return directory({}, attributes);
    case 2:
      return symlink("t".repeat(1 + random(random(10) === 0 ? 4095 : 60)), attributes);
    case 3:
      return special("blockDevice", random(4096), random(2 ** 20), attributes);
    case 4:
      return special((["fifo", "socket"] as const)[random(2)]!, 0, 0, attributes);
    case 5:
      return inlineFile(Buffer.alloc(random(9000), random(256)), attributes);
    default:
      return randomChunkedFile(random, attributes);
  }
}

function randomChunkedFile(
  random: (limit: number) => number,
  attributes: Partial<Attributes>,
): RegularFile {
  const chunkSizeBytes = 4096 << random(4);
  const count = random(6);
  const first = random(1000);
  const isRun = random(2) === 0;
  const chunks = Array.from({ length: count }, (_, at) => {
    if (isRun) return first + at;
    return random(3) === 0 ? holeChunk : random(1000);
  });
  const sizeBytes = count === 0 ? 0 : count * chunkSizeBytes - random(chunkSizeBytes);
  const isSingle = count === 1 && random(2) === 0;
  return chunkedFile(sizeBytes, chunkSizeBytes, isSingle ? chunks[0]! : chunks, attributes);
}

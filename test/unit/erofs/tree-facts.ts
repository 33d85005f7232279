/**
 * What a tree, and what an image says, in one form: to be compared with `toEqual`.
 *
 * @module
 */
import { type BlockOf, chunkCountOf } from "../../../src/erofs/chunk-map.ts";
import { decodeDeviceNumber } from "../../../src/erofs/inode-record.ts";
import {
  type ErofsImage,
  extentsOf,
  type ImageInode,
  isOfType,
  openImage,
  readOwnContent,
  readXattrs,
  symlinkTarget,
  walkImage,
} from "../../../src/erofs/read.ts";
import { superblockField, superblockOffset } from "../../../src/erofs/format.ts";
import { sealSuperblock } from "../../../src/erofs/superblock.ts";
import { type ChunkedContent, holeChunk, type Xattr } from "../../../src/erofs/tree.ts";
import { emitImage, planImage, type PlanOptions } from "../../../src/erofs/write.ts";
import { compareByteStrings } from "../../../src/util/byte-string.ts";
import { type Directory, type Inode, toFileTree } from "../../support/tree-objects.ts";

export interface InodeFacts {
  readonly attributes: readonly number[];
  readonly xattrs: readonly string[];
  readonly content: readonly string[];
  readonly linkOf: string | undefined;
}

export type TreeFacts = ReadonlyMap<string, InodeFacts>;

/** Where the first of two packs begins, in blocks. */
export const packStart = 1 << 24;
export const packBlocks = 1 << 20;
/** Two packs in a row; a chunk has 8 blocks, so that packs border at chunk 131,072. */
export const twoPacks: PlanOptions = {
  devices: [
    { tag: "pack-0", blocks: packBlocks, uniaddr: packStart },
    { tag: "pack-1", blocks: packBlocks, uniaddr: packStart + packBlocks },
  ],
  blockOf: (chunk) => packStart + chunk * 8,
};
export const noDevices: PlanOptions = { devices: [], blockOf: () => 0 };

/** The whole image; checks that the sink got each byte once. */
export function imageOf(root: Directory, options: PlanOptions): Buffer {
  const pieces: { offset: number; bytes: Buffer }[] = [];
  const { sizeBytes } = emitImage(planImage(toFileTree(root), options), (offset, bytes) => {
    pieces.push({ offset, bytes: Buffer.from(bytes) });
  });
  const image = Buffer.alloc(sizeBytes, 0xee);
  let total = 0;
  for (const { offset, bytes } of pieces) {
    image.set(bytes, offset);
    total += bytes.length;
  }
  if (total !== sizeBytes) throw new Error(`${total} bytes written of ${sizeBytes}`);
  return image;
}

export function openBytes(image: Uint8Array): ErofsImage {
  return openImage((offset, length) => image.subarray(offset, offset + length));
}

/** Gives a changed image the checksum that makes the reader look at the rest. */
export function reseal(image: Buffer): Buffer {
  const uuidOffset = superblockOffset + superblockField.uuid;
  sealSuperblock(image, image.slice(uuidOffset, uuidOffset + 16));
  return image;
}

/** What a tree promises of the image made from it. */
export function factsOfTree(root: Directory, blockOf: BlockOf): TreeFacts {
  return describeTree(root, (inode) => contentOfInode(inode, blockOf));
}

/** All names of a tree, in the order of a walk, with the content described as the caller likes. */
export function describeTree(
  root: Directory,
  contentOf: (inode: Inode) => readonly string[],
): TreeFacts {
  const facts = new Map<string, InodeFacts>();
  const firstPaths = new Map<Inode, string>();
  const linkCounts = countLinks(root);
  const visit = (path: string, inode: Inode): void => {
    facts.set(path === "" ? "/" : path, {
      attributes: [...attributesOf(inode), linkCounts.get(inode)!],
      xattrs: inode.xattrs.map(describeXattr),
      content: contentOf(inode),
      linkOf: firstPaths.get(inode),
    });
    if (inode.type !== "directory") {
      if (!firstPaths.has(inode)) firstPaths.set(inode, path);
      return;
    }
    const entries = [...inode.entries].sort(([left], [right]) => compareByteStrings(left, right));
    for (const [name, child] of entries) visit(`${path}/${name}`, child);
  };
  visit("", root);
  return facts;
}

export function factsOfImage(image: ErofsImage): TreeFacts {
  const facts = new Map<string, InodeFacts>();
  for (const { path, inode, linkOf } of walkImage(image)) {
    facts.set(path, {
      attributes: [
        inode.mode,
        inode.uid,
        inode.gid,
        inode.mtimeSeconds,
        inode.mtimeNanoseconds,
        inode.linkCount,
      ],
      xattrs: readXattrs(image, inode).map(describeXattr),
      content: contentOfImageInode(image, inode),
      linkOf,
    });
  }
  return facts;
}

function attributesOf(inode: Inode): number[] {
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds } = inode;
  return [mode, uid, gid, mtimeSeconds, mtimeNanoseconds];
}

function countLinks(root: Directory): Map<Inode, number> {
  const counts = new Map<Inode, number>([[root, 2]]);
  const pending = [root];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const child of next.entries.values()) {
      const isDirectory = child.type === "directory";
      counts.set(child, (counts.get(child) ?? 0) + (isDirectory ? 2 : 1));
      if (!isDirectory) continue;
      counts.set(next, counts.get(next)! + 1);
      pending.push(child);
    }
  }
  return counts;
}

export function describeXattr({ name, value }: Xattr): string {
  return `${name}=${Buffer.from(value).toString("hex")}`;
}

function describeBytes(bytes: Uint8Array): string[] {
  return bytes.length === 0 ? [] : [Bun.hash.wyhash(bytes).toString(16)];
}

function contentOfInode(inode: Inode, blockOf: BlockOf): string[] {
  switch (inode.type) {
    case "directory":
      return [];
    case "symlink":
      return [inode.target];
    case "special":
      return [`${inode.deviceMajor}:${inode.deviceMinor}`];
    default:
      return [
        `${inode.sizeBytes} bytes`,
        ...(inode.content.kind === "inline"
          ? describeBytes(inode.content.bytes)
          : describeChunks(inode.sizeBytes, inode.content, blockOf)),
      ];
  }
}

function describeChunks(sizeBytes: number, content: ChunkedContent, blockOf: BlockOf): string[] {
  const runs = new Runs();
  const { chunks, chunkSizeBytes } = content;
  for (let at = 0; at < chunkCountOf(content); at++) {
    const ref = typeof chunks === "number" ? chunks : chunks[at]!;
    const lengthBytes = Math.min(chunkSizeBytes, sizeBytes - at * chunkSizeBytes);
    runs.add(lengthBytes, ref === holeChunk ? undefined : blockOf(ref));
  }
  return runs.lines();
}

function contentOfImageInode(image: ErofsImage, inode: ImageInode): string[] {
  if (isOfType(inode, "directory")) return [];
  if (isOfType(inode, "symlink")) return [symlinkTarget(image, inode)];
  if (!isOfType(inode, "regular")) {
    const { major, minor } = decodeDeviceNumber(inode.union);
    return [`${major}:${minor}`];
  }
  const size = `${inode.sizeBytes} bytes`;
  const runs = new Runs();
  for (const extent of extentsOf(image, inode)) {
    const block = extent.kind === "blocks" ? extent.block : undefined;
    const isOwn = block !== undefined && image.deviceMap.deviceOf(block) === undefined;
    if (extent.kind === "inline" || isOwn) {
      return [size, ...describeBytes(readOwnContent(image, inode, 0, inode.sizeBytes))];
    }
    runs.add(extent.lengthBytes, block);
  }
  return [size, ...runs.lines()];
}

/** Neighbouring ranges joined, so that any choice of layout reads the same. */
class Runs {
  readonly #runs: { lengthBytes: number; block: number | undefined }[] = [];

  add(lengthBytes: number, block: number | undefined): void {
    const last = this.#runs.at(-1);
    const next = last?.block === undefined ? undefined : last.block + last.lengthBytes / 4096;
    if (last !== undefined && next === block) last.lengthBytes += lengthBytes;
    else this.#runs.push({ lengthBytes, block });
  }

  lines(): string[] {
    return this.#runs.map(({ lengthBytes, block }) => `${lengthBytes} at ${block ?? "hole"}`);
  }
}

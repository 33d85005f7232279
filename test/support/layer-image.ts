/** Small real layers for mount tests: an image and packs with known content. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { blockSizeBytes } from "../../src/erofs/format.ts";
import { fileType, noXattrs, type RegularFile } from "../../src/erofs/tree.ts";
import { emitImage, planImage } from "../../src/erofs/write.ts";
import type { ImageFiles } from "../../src/mount/contract.ts";
import { type ByteString, byteStringOfText } from "../../src/util/byte-string.ts";
import { type Directory, type Inode, toFileTree } from "./tree-objects.ts";

const packBlocks = 4;
const attributes = { uid: 0, gid: 0, mtimeSeconds: 1, mtimeNanoseconds: 0, xattrs: noXattrs };

/** What a pack holds: its number, over and over. */
export function packContent(packId: number): Buffer<ArrayBuffer> {
  return Buffer.alloc(packBlocks * blockSizeBytes, `pack ${packId} `);
}

/**
 * Writes `<folder>/<layerId>.erofs`, and `<folder>/<packId>.pack` where missing. The image has a
 * file per pack, named after it, with the pack's whole content, and a device node `null`.
 */
export function writeLayer(
  folder: string,
  layerId: number,
  packIds: readonly number[],
): ImageFiles {
  mkdirSync(folder, { recursive: true });
  const packs = packIds.map((packId) => {
    const path = join(folder, `${packId}.pack`);
    if (!existsSync(path)) writeFileSync(path, packContent(packId));
    return path;
  });
  const plan = planImage(toFileTree(treeOf(layerId, packIds)), {
    devices: packIds.map((packId) => ({
      tag: `${packId}.pack`,
      blocks: packBlocks,
      uniaddr: addressOf(packId),
    })),
    blockOf: addressOf,
  });
  const bytes = Buffer.alloc(plan.blocks * blockSizeBytes);
  emitImage(plan, (offsetBytes, piece) => bytes.set(piece, offsetBytes));
  const image = join(folder, `${layerId}.erofs`);
  writeFileSync(image, bytes);
  return { image, packs };
}

function addressOf(packId: number): number {
  return packId * 2 ** 16;
}

function treeOf(layerId: number, packIds: readonly number[]): Directory {
  const entries = new Map<ByteString, Inode>();
  for (const packId of packIds) entries.set(byteStringOfText(`${packId}`), fileOf(packId));
  const mode = fileType.characterDevice | 0o666;
  const node = { ...attributes, type: "special", mode, deviceMajor: 1, deviceMinor: 3 } as const;
  entries.set(byteStringOfText("null"), node);
  entries.set(byteStringOfText(`layer-${layerId}`), { ...node });
  return { ...attributes, type: "directory", mode: fileType.directory | 0o755, entries };
}

/** The whole pack as one chunk; chunk numbers are pack numbers. */
function fileOf(packId: number): RegularFile {
  const sizeBytes = packBlocks * blockSizeBytes;
  return {
    ...attributes,
    type: "file",
    mode: fileType.regular | 0o644,
    sizeBytes,
    content: { kind: "chunks", chunkSizeBytes: sizeBytes, chunks: packId },
  };
}

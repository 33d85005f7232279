/**
 * The smallest images that are read as every layer is: files whose content lies on a device.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { contentBlocks, type Packing } from "../erofs/compression.ts";
import { encodeExtent, type ExtentCodec } from "../erofs/extent-codec.ts";
import { blockSizeBytes } from "../erofs/format.ts";
import { FileTree } from "../erofs/file-tree.ts";
import { fileType, noXattrs } from "../erofs/tree.ts";
import { emitImage, planImage } from "../erofs/write.ts";
import { defined } from "../util/assert.ts";
import { byteStringOfText } from "../util/byte-string.ts";
import type { ImageFiles } from "./contract.ts";

export interface ProbeImage {
  readonly files: ImageFiles;
  /** Names and contents of all files in the image. */
  readonly contents: ReadonlyMap<string, Uint8Array>;
}

/** Far above the image's own blocks, as the addresses of packs are. */
const packAddress = 2 ** 23;

/** Writes an image with a file `content` of one random block, and its pack, into a folder. */
export function writeProbeImage(folder: string): ProbeImage {
  const content = crypto.getRandomValues(new Uint8Array(blockSizeBytes));
  return writeImage(folder, new Map([["content", content]]), content);
}

const sampleBytes = 16 * blockSizeBytes;

/**
 * The same with compressed files: `extent` is an extent of its own, `fragment` the end of another
 * one that serves as a bundle.
 */
export async function writeCompressedProbeImage(
  folder: string,
  codec: ExtentCodec,
): Promise<ProbeImage> {
  const nonce = crypto.randomUUID();
  const [extent, bundle] = ["extent", "bundle"].map((what) =>
    Buffer.alloc(sampleBytes, `${what} ${nonce} `),
  ) as [Buffer, Buffer];
  const stored = await Promise.all([extent, bundle].map((bytes) => encodeExtent(codec, bytes)));
  const [first, second] = stored.map((blocks) => defined(blocks, "a compressed sample")) as [
    Uint8Array,
    Uint8Array,
  ];
  const bundleBlock = packAddress + contentBlocks(first.length);
  const storedBlocks = contentBlocks(second.length);
  const fragment = bundle.subarray(blockSizeBytes + 1);
  const packing: Packing = {
    algorithm: codec.algorithm,
    extentBlocksOf: (chunk) =>
      chunk === 0 ? Uint8Array.of(contentBlocks(first.length)) : undefined,
    bundleOffsetOf: (chunk) => (chunk === 0 ? undefined : sampleBytes - fragment.length),
    bundleAt: (block) => ({ block, storedBlocks, sizeBytes: sampleBytes }),
  };
  const contents = new Map<string, Uint8Array>([
    ["extent", extent],
    ["fragment", fragment],
  ]);
  const blockOf = (chunk: number) => (chunk === 0 ? packAddress : bundleBlock);
  return writeImage(folder, contents, Buffer.concat([first, second]), blockOf, packing);
}

/** The files are chunks 0, 1, … of the pack. */
function writeImage(
  folder: string,
  contents: ReadonlyMap<string, Uint8Array>,
  pack: Uint8Array,
  blockOf = (_chunk: number) => packAddress,
  packing?: Packing,
): ProbeImage {
  const plan = planImage(probeTree(contents), {
    devices: [{ tag: "probe", blocks: contentBlocks(pack.length), uniaddr: packAddress }],
    blockOf,
    ...(packing && { packing }),
  });
  const image = Buffer.alloc(plan.blocks * blockSizeBytes);
  emitImage(plan, (offsetBytes, bytes) => image.set(bytes, offsetBytes));
  const files = { image: join(folder, "image"), packs: [join(folder, "pack")] };
  writeFileSync(files.image, image);
  writeFileSync(join(folder, "pack"), pack);
  return { files, contents };
}

function probeTree(contents: ReadonlyMap<string, Uint8Array>): FileTree {
  const attributes = { uid: 0, gid: 0, mtimeSeconds: 0, mtimeNanoseconds: 0, xattrs: noXattrs };
  const tree = new FileTree();
  tree.add({ ...attributes, type: "directory", mode: fileType.directory | 0o700 });
  for (const [chunk, [name, { length: sizeBytes }]] of [...contents].entries()) {
    const file = tree.add({
      ...attributes,
      type: "file",
      mode: fileType.regular | 0o600,
      sizeBytes,
      content: { kind: "chunks", chunkSizeBytes: sampleBytes, chunks: chunk },
    });
    tree.link(tree.root, byteStringOfText(name), file);
  }
  return tree;
}

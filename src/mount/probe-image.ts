/**
 * The smallest image that is read as every layer is: a file whose content lies on a device.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { blockSizeBytes } from "../erofs/format.ts";
import { type Directory, fileType, noXattrs, type RegularFile } from "../erofs/tree.ts";
import { emitImage, planImage } from "../erofs/write.ts";
import { byteStringOfText } from "../util/byte-string.ts";
import type { ImageFiles } from "./contract.ts";

export interface ProbeImage {
  readonly files: ImageFiles;
  /** The only file in the image. */
  readonly fileName: string;
  /** Its content, a random block. */
  readonly content: Uint8Array;
}

const fileName = "content";
/** Far above the image's own blocks, as the addresses of packs are. */
const packAddress = 2 ** 23;

/** Writes the image and its pack into an existing folder. */
export function writeProbeImage(folder: string): ProbeImage {
  const plan = planImage(probeTree(), {
    devices: [{ tag: "probe", blocks: 1, uniaddr: packAddress }],
    blockOf: () => packAddress,
  });
  const image = Buffer.alloc(plan.blocks * blockSizeBytes);
  emitImage(plan, (offsetBytes, bytes) => image.set(bytes, offsetBytes));
  const content = crypto.getRandomValues(new Uint8Array(blockSizeBytes));
  const files = { image: join(folder, "image"), packs: [join(folder, "pack")] };
  writeFileSync(files.image, image);
  writeFileSync(join(folder, "pack"), content);
  return { files, fileName, content };
}

function probeTree(): Directory {
  const attributes = { uid: 0, gid: 0, mtimeSeconds: 0, mtimeNanoseconds: 0, xattrs: noXattrs };
  const file: RegularFile = {
    ...attributes,
    type: "file",
    mode: fileType.regular | 0o600,
    sizeBytes: blockSizeBytes,
    content: { kind: "chunks", chunkSizeBytes: blockSizeBytes, chunks: 0 },
  };
  const mode = fileType.directory | 0o700;
  const entries = new Map([[byteStringOfText(fileName), file]]);
  return { ...attributes, type: "directory", mode, entries };
}

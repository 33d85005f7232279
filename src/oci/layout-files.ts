/**
 * The files of an OCI layout (image-layout.md), in a folder or in a tar of one.
 *
 * @module
 */
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseDigest } from "../containerd/descriptor.ts";
import { AppError } from "../errors.ts";
import { TarReader } from "../tar/reader.ts";
import { displayName } from "../util/byte-string.ts";
import { readFully, readPieces } from "./bytes.ts";
import type { FileRange } from "./contract.ts";

export const layoutFileName = "oci-layout";
export const indexFileName = "index.json";
export const layoutVersion = '{"imageLayoutVersion":"1.0.0"}';
/** Files of a tar; a blob for each layer and manifest, so this is far beyond any layout. */
const filesMax = 2 ** 17;

/** Where in a layout a blob lies. */
export function blobName(digest: string): string {
  const parsed = parseDigest(digest);
  if (parsed === undefined) throw new AppError("invalid_argument", `"${digest}" is no digest`);
  return `blobs/${parsed.algorithm}/${parsed.hex}`;
}

export interface LayoutFiles {
  /** Where a file lies, by its name in the layout; undefined for none. */
  find(name: string): Promise<FileRange | undefined>;
}

/** The files of a folder or tar; rejects with `not_found` where there is neither. */
export async function openLayoutFiles(path: string): Promise<LayoutFiles> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (cause) {
    throw new AppError("not_found", `There is no OCI layout "${path}"`, { cause });
  }
  const files = isFolder ? folderFiles(path) : await tarFiles(path);
  if ((await files.find(layoutFileName)) !== undefined) return files;
  const remedy = "save the image as one, with `ctr image export` or `skopeo copy … oci:PATH`";
  throw new AppError("invalid_argument", `"${path}" is no OCI layout`, { remedy });
}

function folderFiles(folder: string): LayoutFiles {
  return {
    async find(name) {
      const path = join(folder, name);
      try {
        const { size } = await stat(path);
        return { path, offsetBytes: 0, lengthBytes: size };
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw new AppError("internal", `Cannot look at "${path}"`, { cause });
      }
    },
  };
}

async function tarFiles(path: string): Promise<LayoutFiles> {
  const files = new Map<string, FileRange>();
  await using archive = await open(path, "r");
  const { size } = await archive.stat();
  const bytes = readPieces(archive, { offsetBytes: 0, lengthBytes: size });
  const reader = new TarReader(bytes, { globalRecords: "ignore" });
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    if (entry.type !== "file" || reader.isSparse) continue;
    if (files.size >= filesMax) {
      throw new AppError("resource_exhausted", `"${path}" has more than ${filesMax} files`);
    }
    const name = displayName(entry.name).replace(/^(?:\.?\/)+/, "");
    files.set(name, { path, offsetBytes: reader.position, lengthBytes: entry.sizeBytes });
  }
  return { find: (name) => Promise.resolve(files.get(name)) };
}

/** A part of a file of the layout. */
export async function readPart(
  range: FileRange,
  offsetBytes: number,
  lengthBytes: number,
): Promise<Buffer> {
  if (offsetBytes + lengthBytes > range.lengthBytes) {
    throw new AppError("data_loss", `"${range.path}" ends before byte ${offsetBytes}`);
  }
  await using file = await open(range.path, "r");
  return await readFully(file, range.offsetBytes + offsetBytes, lengthBytes);
}
